"""Picks the verbs that remain, and runs them: what `deploy` is."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from deployer import events
from deployer.errors import StepError
from deployer.lifecycle import look, packages, ports
from deployer.lifecycle.engine import check_allowed, run_verb
from deployer.lifecycle.operation import recorded
from deployer.preflight import static
from deployer.reading import not_found
from state import machine
from state.machine import RAISING, State

if TYPE_CHECKING:
    from deployer.environment.load import Loaded
    from deployer.lifecycle.session import Session
    from deployer.paths import Workspace
    from deployer.results import VerbResult
    from state.records import EnvironmentRecord


@dataclass(frozen=True)
class Due:
    """A verb that remains, and why."""

    verb: str
    reason: str


def due(workspace: Workspace, record: EnvironmentRecord, loaded: Loaded) -> list[Due]:
    """The verbs that `deploy` would run from here, if each changed something."""
    found: list[Due] = []
    for verb in RAISING:
        if found:
            found.append(Due(verb, f"it follows {found[-1].verb}"))
        elif why := reason(workspace, record, loaded, verb):
            found.append(Due(verb, why))
    return found


def reason(
    workspace: Workspace, record: EnvironmentRecord, loaded: Loaded, verb: str
) -> str | None:
    """Why `deploy` runs a verb from here, in words; None if it doesn't."""
    if record.rank < machine.success_rank(verb):
        return f"the environment is {record.state.value}"
    if is_outdated(workspace, record, loaded, verb):
        return "its input has changed"
    return None


def is_outdated(workspace: Workspace, record: EnvironmentRecord, loaded: Loaded, verb: str) -> bool:
    """Whether the input of a verb differs from that of its last success."""
    last = record.inputs.get(verb)
    if last is None or verb == "run":  # whether services must start, a look sees
        return False
    module = import_module(f"deployer.lifecycle.{verb}")
    return bool(module.inputs(workspace, record, loaded) != last)


def deploy(session: Session) -> list[VerbResult]:
    """Look, then run each verb that remains or whose input is outdated, in order.

    Returns what ran: nothing, where there was nothing to do. Raises the error of the verb that
    failed; the ones before it stay done.
    """
    record = session.record()
    if not record.exists:
        raise not_found(session.workspace, session.name)
    if record.state is State.DESTROY_FAILED:
        check_allowed("provision", record)
    workspace = session.workspace
    ran: list[VerbResult] = []
    with recorded(session, f"Deploying {session.name}") as operation:
        record, _ = lowered(session, record)
        loaded = session.loaded()
        remaining = due(workspace, record, loaded)
        if remaining:
            static.check(workspace, loaded, hooks=not session.call.skip_hooks)
        if any(d.verb == "configure" for d in remaining):
            packages.check_here(loaded)
        if any(d.verb == "run" for d in remaining):
            if loaded.provider.local and not record.hosts:
                ports.check_here(workspace, session.name, ports.wanted(loaded))
            ports.check(workspace, record, ports.wanted(loaded), session)
        if any(d.verb in ("release", "run") for d in remaining):
            loaded.secrets.values(loaded.references)
        _announce(session, record, remaining)
        for verb in RAISING:
            record = session.record()
            if reason(workspace, record, loaded, verb):
                session.interrupt.check()
                ran.append(run_verb(session, verb, index=len(ran) + 1, total=len(remaining)))
                operation.changed = operation.changed or ran[-1].changed
    return ran


def _announce(session: Session, record: EnvironmentRecord, remaining: list[Due]) -> None:
    """Before the first side effect: what was completed, and what will run."""
    if not remaining or record.rank == 0:
        return
    done = RAISING[: RAISING.index(remaining[0].verb)]
    session.publish(
        events.StepProgress,
        verb=session.verb,
        step="plan",
        title=(f"{', '.join(done)} done before; " if done else "")
        + f"{', '.join(d.verb for d in remaining)} to do, because {remaining[0].reason}",
        outcome="note",
    )


def lowered(session: Session, record: EnvironmentRecord) -> tuple[EnvironmentRecord, list[str]]:
    """Look, and record it where less is there than recorded. Returns the record and the reasons.

    Raises `StepError` if a host doesn't answer; then nothing is recorded.
    """
    if record.rank < 1:
        return record, []
    seen = look.look(session.workspace, record, session)
    for host in seen.hosts if seen.silent else ():
        session.publish(
            events.StepProgress,
            verb="look",
            step="look",
            title=f"{host} answers",
            outcome="ok",
            host=host,
        )
    try:
        seen.answered()
    except StepError as problem:
        problem.hint = f"{problem.hint} {seen.advice(record)}".strip()
        raise
    position = machine.lower(record.position, seen.supported)
    if position == record.position:
        return record, []
    for reason in seen.reasons:
        session.publish(
            events.StepProgress, verb="look", step="look", title=reason, outcome="warning"
        )
    before = record.state
    record = session.store.look(
        record, position, operation_id=session.operation_id, token=session.token
    )
    session.publish(events.StateChanged, from_state=before.value, to_state=record.state.value)
    return record, seen.reasons
