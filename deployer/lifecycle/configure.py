"""configure: every host has the root folder and what the runtime needs."""

from __future__ import annotations

import hashlib
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from deployer.lifecycle.engine import Step, StepResult
from deployer.lifecycle.play import play
from deployer.paths import TEMPLATES

if TYPE_CHECKING:
    from deployer.lifecycle.engine import StepRun, VerbRun
    from deployer.lifecycle.session import Session
    from state.records import EnvironmentRecord

LAUNCHER = TEMPLATES / "ansible" / "files" / "launch.py"


def inputs(session: Session, record: EnvironmentRecord) -> dict[str, Any]:
    """What a host is configured from; our own part is in it, so that an update reaches hosts."""
    return {
        "runtime": session.loaded().configuration.runtime,
        "hosts": [host.name for host in record.hosts],
        "python": sys.executable,
        "code": _code(),
    }


@lru_cache(1)
def _code() -> str:
    files = (TEMPLATES / "ansible" / "configure.yml", LAUNCHER)
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def prepare(run: VerbRun) -> list[Step]:
    """One playbook, on every host."""
    run.intent = inputs(run.session, run.record)
    return [Step("prepare-hosts", "Prepare hosts", _act)]


def _act(step: StepRun) -> StepResult:
    launcher = LAUNCHER.read_text(encoding="utf-8")
    return play(step, "configure", more=lambda _: {"launcher": launcher})
