"""Picks the verbs that remain, and runs them: what `deploy` is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from deployer import events
from deployer.errors import DeployerError, InterruptedOperation, StepError, verb_exit
from deployer.lifecycle import look, ports
from deployer.lifecycle.engine import as_error, check_allowed, run_verb
from deployer.preflight import static
from deployer.reading import not_found
from state import machine
from state.errors import StoreError
from state.machine import RAISING, State

if TYPE_CHECKING:
    from deployer.lifecycle.session import Session
    from deployer.results import VerbResult
    from state.records import EnvironmentRecord


@dataclass(frozen=True)
class Due:
    """A verb that remains, and why."""

    verb: str
    reason: str


def due(session: Session, record: EnvironmentRecord) -> list[Due]:
    """The verbs that `deploy` would run from here, if each changed something."""
    found: list[Due] = []
    for verb in RAISING:
        if found:
            found.append(Due(verb, f"follows {found[-1].verb}"))
        elif record.rank < machine.success_rank(verb):
            found.append(Due(verb, f"the environment is {record.state.value}"))
        elif is_outdated(session, record, verb):
            found.append(Due(verb, "its input has changed"))
    return found


def is_outdated(session: Session, record: EnvironmentRecord, verb: str) -> bool:
    """Whether the input of a verb differs from that of its last success."""
    last = record.inputs.get(verb)
    if last is None or verb == "run":
        return False
    return bool(import_module(f"deployer.lifecycle.{verb}").inputs(session, record) != last)


def deploy(session: Session) -> list[VerbResult]:
    """Look, then run each verb that remains or whose input is outdated, in order.

    Returns what ran: nothing, where there was nothing to do. Raises the error of the verb that
    failed; the ones before it stay done.
    """
    started = time.monotonic()
    record = session.record()
    if not record.exists:
        raise not_found(session.workspace, session.name)
    session.store.start_operation(
        record,
        operation_id=session.operation_id,
        verb=session.verb,
        token=session.token,
        details=session.details(),
    )
    session.publish(
        events.OperationStarted,
        verb=session.verb,
        title=f"Deploying {session.name}",
        porcelain=True,
    )
    ran: list[VerbResult] = []
    try:
        record = _look(session, record)
        if record.state is State.DESTROY_FAILED:
            check_allowed("provision", record)
        remaining = due(session, record)
        static.check(session.workspace, session.loaded())
        if any(d.verb == "run" for d in remaining):
            ports.check(session.workspace, record, session.loaded())
        total = len(remaining)
        for verb in RAISING:
            record = session.record()
            if record.rank < machine.success_rank(verb) or is_outdated(session, record, verb):
                session.interrupt.check()
                ran.append(run_verb(session, verb, index=len(ran) + 1, total=total))
        _end(session, started, ran)
    except BaseException as problem:
        error = as_error(problem)
        if isinstance(error, StepError) and error.verb is None:
            # the look failed: its hosts are what provision answers for
            error.verb, error.exit_code = "provision", verb_exit("provision")
        error.resume = error.resume or session.call.resume or None
        _end(session, started, ran, error)
        raise error from problem
    return ran


def _look(session: Session, record: EnvironmentRecord) -> EnvironmentRecord:
    if record.rank < 1:
        return record
    seen = look.look(session.workspace, record)
    position = machine.lower(record.position, seen.supported)
    if position == record.position:
        return record
    for reason in seen.reasons:
        session.publish(
            events.StepProgress, verb="look", step="look", title=reason, outcome="warning"
        )
    before = record.state
    record = session.store.look(
        record, position, operation_id=session.operation_id, token=session.token
    )
    session.publish(events.StateChanged, from_state=before.value, to_state=record.state.value)
    return record


def _end(
    session: Session, started: float, ran: list[VerbResult], error: DeployerError | None = None
) -> None:
    record = session.record()
    seconds = time.monotonic() - started
    outcome = "succeeded"
    if error:
        outcome = "interrupted" if isinstance(error, InterruptedOperation) else "failed"
    try:
        session.store.end_operation(
            record,
            operation_id=session.operation_id,
            token=session.token,
            outcome=outcome,
            seconds=seconds,
            changed=any(result.changed for result in ran),
            error=error.to_dict() if error else None,
        )
    except StoreError:
        if error is None:
            raise
        return  # the first error says more; the next operation closes the row
    common: dict[str, Any] = {
        "verb": session.verb,
        "state": record.state.value,
        "seconds": seconds,
        "porcelain": True,
    }
    if error:
        session.publish(events.OperationFailed, error=error.to_dict(), **common)
    else:
        changed = any(result.changed for result in ran)
        session.publish(events.OperationFinished, changed=changed, **common)
