"""configure: every host has the root folder and what the runtime needs."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from deployer import runtimes
from deployer.errors import Finding, GateError
from deployer.lifecycle import firewall, packages, readiness
from deployer.lifecycle.candidate import scan
from deployer.lifecycle.play import check, play
from deployer.lifecycle.steps import Step, StepResult
from deployer.paths import TEMPLATES
from deployer.results import Change

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
        "open": firewall.ports(loaded),
        "packages": sorted(loaded.app.manifest.packages),
        "code": _code(),
    }


def require(record: EnvironmentRecord, loaded: Loaded) -> None:
    """Refuse a release for which hosts have not been configured. Raises `GateError`.

    Our own part may be older: what is on hosts works on with the release that it has.
    """
    last = record.inputs.get("configure", {})
    lacking = []
    runtime, ports = loaded.configuration.runtime, firewall.ports(loaded)
    if last.get("runtime", runtime) != runtime:
        lacking.append(f"the runtime {runtime} (it was {last['runtime']})")
    if packages_new := sorted(set(loaded.app.manifest.packages) - set(last.get("packages", ()))):
        lacking.append(f"the packages {' '.join(packages_new)}")
    if last.get("open", ports) != ports:
        lacking.append("other open ports in the firewall")
    if lacking:
        name = record.name
        raise GateError(
            f"{name} has to be configured for this release first: it needs {', '.join(lacking)}",
            hint=f"To do that: deployer configure {name}. All at once: deployer deploy {name}",
            findings=[Finding("unprepared", what) for what in lacking],
        )


@lru_cache(1)
def _code() -> str:
    files = (TEMPLATES / "ansible" / "configure.yml", LAUNCHER)
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def prepare(run: VerbRun) -> list[Step]:
    """One playbook, on every host."""
    loaded = run.session.loaded()
    packages.check_here(loaded)
    run.intent = inputs(run.session.workspace, run.record, loaded)
    seen = readiness.inspect(run, scan(loaded).size)
    fresh = all(facts["owner"] is None for facts in seen.values())
    prepare_hosts = Step(
        "prepare-hosts", "Prepare hosts", lambda step: _act(step, fresh), preview=_preview
    )
    return [prepare_hosts, *firewall.steps(run)]


def _act(step: StepRun, fresh: bool) -> StepResult:
    if fresh:
        step.undo_with("remove-root")
    told = _told(step)
    return play(step, "configure", more=lambda _: told)


def _preview(step: StepRun) -> StepResult:
    told = _told(step)
    changes: list[Change] = []
    for host, found in check(step, "configure", more=lambda _: told).items():
        packages = [*found.get("missing", ()), *found.get("absent", ())]
        changes += [Change("create", "package", name, host) for name in packages]
        if found["changed"] and not found.get("missing"):
            changes += [Change("create", "host", name, host) for name in found.get("made", ())]
        elif found.get("missing"):
            changes.append(Change("change", "host", "what packages are missing for", host))
    return StepResult(changed=bool(changes), changes=tuple(changes))


def _told(step: StepRun) -> dict[str, Any]:
    launcher = LAUNCHER.read_text(encoding="utf-8")
    wanted = set(runtimes.PACKAGES[step.run.configuration.runtime])
    if step.run.configuration.firewall:
        wanted.add(firewall.PACKAGE)
    return {
        "launcher": launcher,
        "packages": sorted(wanted),
        "app_packages": step.run.intent["packages"],
    }
