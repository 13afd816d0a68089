"""configure: every host has the root folder and what the runtime needs."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from deployer.lifecycle import hosts
from deployer.lifecycle.play import play
from deployer.lifecycle.steps import Step, StepResult
from deployer.paths import TEMPLATES

if TYPE_CHECKING:
    from deployer.environment.load import Loaded
    from deployer.lifecycle.steps import StepRun, VerbRun
    from deployer.paths import Workspace
    from state.records import EnvironmentRecord

LAUNCHER = TEMPLATES / "ansible" / "files" / "launch.py"


def inputs(workspace: Workspace, record: EnvironmentRecord, loaded: Loaded) -> dict[str, Any]:
    """What a host is configured from; our own part is in it, so that an update reaches hosts."""
    return {
        "runtime": loaded.configuration.runtime,
        "hosts": [host.name for host in record.hosts],
        "code": _code(),
    }


@lru_cache(1)
def _code() -> str:
    files = (TEMPLATES / "ansible" / "configure.yml", LAUNCHER)
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def prepare(run: VerbRun) -> list[Step]:
    """One playbook, on every host."""
    run.intent = inputs(run.session.workspace, run.record, run.session.loaded())
    seen = hosts.inspect(run.session.workspace, run.record, check_health=False)
    fresh = all(facts["owner"] is None for facts in seen.values())
    return [Step("prepare-hosts", "Prepare hosts", lambda step: _act(step, fresh))]


def _act(step: StepRun, fresh: bool) -> StepResult:
    if fresh:
        step.undo_with("remove-root")
    launcher = LAUNCHER.read_text(encoding="utf-8")
    return play(step, "configure", more=lambda _: {"launcher": launcher})
