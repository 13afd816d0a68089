"""Commands that compose verbs: redeploy, upgrade, rollback, reset, restart."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deployer import events
from deployer.errors import (
    Code,
    DeployerError,
    GateError,
    NotAllowedError,
    NotFoundError,
    StepError,
)
from deployer.lifecycle import planner
from deployer.lifecycle.engine import check_allowed, run_verb
from deployer.lifecycle.operation import recorded
from deployer.preflight import static

if TYPE_CHECKING:
    from deployer.lifecycle.operation import Operation
    from deployer.lifecycle.session import Session
    from deployer.results import VerbResult
    from state.records import EnvironmentRecord, ReleaseRecord


class _Composition:
    """The verbs of one operation, one after the other."""

    def __init__(self, session: Session, operation: Operation, total: int) -> None:
        self.session = session
        self.operation = operation
        self.total = total
        self.ran: list[VerbResult] = []

    def run(self, verb: str, **options: Any) -> None:
        """Run a verb."""
        self.session.interrupt.check()
        index = len(self.ran) + 1 if self.total else 0
        result = run_verb(
            self.session, verb, index=index, total=self.total, options=options or None
        )
        self.ran.append(result)
        self.operation.changed = self.operation.changed or result.changed


def _prove(session: Session) -> None:
    """What can be known before anything is touched: files, and that every secret can be had."""
    loaded = session.loaded()
    static.check(session.workspace, loaded, hooks=not session.call.skip_hooks)
    loaded.secrets.values(loaded.references)


def redeploy(session: Session) -> list[VerbResult]:
    """Release what there is now and start every service anew; hosts are left as they are."""
    check_allowed("release", session.record())
    with recorded(session, f"Redeploying {session.name}") as operation:
        _prove(session)
        verbs = _Composition(session, operation, 2)
        verbs.run("release")
        verbs.run("run", restart=True)
    return verbs.ran


def upgrade(session: Session) -> list[VerbResult]:
    """Release what there is now and start it; if it fails, go back to the last healthy release.

    Raises the error of the verb that failed, also when the way back succeeded.
    """
    before = session.record()
    check_allowed("release", before)
    with recorded(session, f"Upgrading {session.name}") as operation:
        _prove(session)
        verbs = _Composition(session, operation, 2)
        try:
            verbs.run("release")
            verbs.run("run")
        except (StepError, GateError) as problem:
            if session.record().version != before.version:  # else it failed while looking
                _return(session, operation, problem, before)
            raise
    return verbs.ran


def _return(
    session: Session, operation: Operation, problem: DeployerError, before: EnvironmentRecord
) -> None:
    """Go back to the last healthy release after `problem`, and say in it how that went.

    It is judged by the configuration of `before`: the new one may be what is wrong.
    """
    record = session.record()
    failed = record.intents.get("release", {}).get("number")
    last = _last_healthy(session, record, but=failed)
    if last is None:
        problem.hint = f"{problem.hint} There is no healthy release to return to.".strip()
        return
    _note(session, f"returning to release {last.number}, the last that was healthy")
    session.by_record = before.config
    # nothing of the operator's or the failed release's may stand in the way back
    session.call = replace(session.call, skip_hooks=True)
    try:
        verbs = _Composition(session, operation, 2)
        verbs.run("release", number=last.number)
        verbs.run("run")
    except DeployerError as second:
        problem.hint += f" Returning to release {last.number} failed too: {second.message}."
        return
    problem.more = {**problem.more, "returned_to": last.number}
    problem.hint = f"Release {last.number} is running again. {problem.hint}".strip()


def rollback(session: Session, number: int | None = None) -> list[VerbResult]:
    """Switch to a release that is on the hosts, by default the last healthy one before this."""
    record = session.record()
    check_allowed("release", record)
    target = _target(session, record, number)
    session.by_record = record.config
    with recorded(session, f"Rolling {session.name} back to release {target.number}") as operation:
        session.secrets.values(target.manifest.get("secrets", {}))
        verbs = _Composition(session, operation, 2)
        verbs.run("release", number=target.number)
        verbs.run("run")
    return verbs.ran


def _target(session: Session, record: EnvironmentRecord, number: int | None) -> ReleaseRecord:
    see = f"deployer releases {session.name}"
    current = record.inputs.get("release", {}).get("number")
    if number is None:
        found = _last_healthy(session, record, but=current)
        if found is None:
            raise NotAllowedError(
                f"{session.name} has no other release that was healthy", hint=f"See: {see}"
            )
        return found
    chosen = session.store.release(record.id, number)
    if chosen is None:
        raise NotFoundError(
            f"{session.name} has no release {number}",
            hint=f"See: {see}",
            code=Code.RELEASE_NOT_FOUND,
        )
    if chosen.status != "released":
        raise NotAllowedError(
            f"release {number} of {session.name} is {chosen.status}", hint=f"See: {see}"
        )
    return chosen


def _last_healthy(
    session: Session, record: EnvironmentRecord, *, but: int | None
) -> ReleaseRecord | None:
    known = [
        release
        for release in session.store.releases(record.id)
        if release.healthy_at and release.status == "released" and release.number != but
    ]
    return max(known, key=lambda release: release.healthy_at or "", default=None)


def reset(session: Session, *, data: bool = False) -> list[VerbResult]:
    """Back to configured: services down, releases removed; the data too if asked for."""
    record = session.record()
    if record.rank < 2 or not record.exists:
        check_allowed("clear", record)
    with recorded(session, f"Resetting {session.name}") as operation:
        verbs = _Composition(session, operation, 2)
        verbs.run("stop")
        verbs.run("clear", data=data)
    return verbs.ran


def restart(session: Session, service: str | None = None) -> list[VerbResult]:
    """Start services anew, from the release that they run from, and wait until all are healthy."""
    record = session.record()
    check_allowed("run", record)
    if service is not None:
        _check_service(session, record, service)
    session.by_record = record.config
    what = service or f"the services of {session.name}"
    with recorded(session, f"Restarting {what}") as operation:
        verbs = _Composition(session, operation, 0)
        verbs.run("run", restart=[service] if service else True)
    return verbs.ran


def _check_service(session: Session, record: EnvironmentRecord, service: str) -> None:
    number = record.inputs["release"]["number"]
    release = session.store.release(record.id, number)
    hosts = release.manifest["hosts"].values() if release else ()
    known = sorted({one["name"] for host in hosts for one in host["services"]})
    if service not in known:
        raise NotFoundError(
            f"{session.name} has no service {service!r}",
            hint=f"Its services: {', '.join(known)}",
            code=Code.SERVICE_NOT_FOUND,
        )


def _note(session: Session, text: str) -> None:
    session.publish(
        events.StepProgress, verb=session.verb, step="return", title=text, outcome="note"
    )


COMPOSED = {
    "deploy": planner.deploy,
    "redeploy": redeploy,
    "upgrade": upgrade,
    "rollback": rollback,
    "reset": reset,
    "restart": restart,
}
"""Every porcelain command."""
