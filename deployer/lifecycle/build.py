"""The build of a release: the app's own commands, on every host, before `current` names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.errors import StepError, hosts_error
from deployer.lifecycle import hosts, remote
from deployer.lifecycle.steps import StepResult

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployer.lifecycle.steps import StepRun


def run(step: StepRun, number: int) -> StepResult:
    """Run the build commands of release `number`, unpacked on every host, side by side.

    What they write is progress. Raises `StepError` if one failed; then no host has the release.
    """
    run = step.run
    session = run.session
    builds = session.loaded().app.manifest.build
    failed: dict[str, StepError] = {}
    answers = remote.call(
        _calls(step, "build", number, (host.name for host in run.record.hosts)),
        uuid=run.record.uuid,
        by=session,
        timeout=step.timeout + sum(build.timeout for build in builds),
        told=lambda host, said: step.progress(host=host, **said),
        failed=failed,
    )
    outcomes = {name: "changed" if a["changed"] else "ok" for name, a in answers.items()}
    run.host_outcomes.update(outcomes, **dict.fromkeys(failed, "failed"))
    if failed:
        made = [name for name, outcome in outcomes.items() if outcome == "changed"]
        remote.call(
            _calls(step, "withdraw", number, made),
            uuid=run.record.uuid,
            by=session,
            failed={},  # a release that stays after all is taken up, or removed, by the next one
        )
        for problem in failed.values():
            problem.transient = False  # what a command has done can't be known
        raise hosts_error(list(failed.values()), len(run.record.hosts))
    return StepResult(
        changed="changed" in outcomes.values(),
        detail="" if "changed" in outcomes.values() else f"release {number} is built already",
        hosts=outcomes,
    )


def _calls(step: StepRun, action: str, number: int, names: Iterable[str]) -> dict[str, remote.Call]:
    session, record = step.run.session, step.run.record
    known = {host.name: host for host in record.hosts}
    calls = {}
    for name in names:
        host = known[name]
        more: dict[str, Any] = {"number": number, "before": None}
        spec = hosts.spec(session.workspace, record, host, session.token, **more)
        local = host.connection == hosts.LOCAL
        calls[name] = remote.Call(
            None if local else hosts.login(session.workspace, record, host),
            spec["python"],
            {"action": action, "spec": spec},
            held=True,
        )
    return calls
