"""A porcelain operation in the history: its row, its events, its end."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployer import events
from deployer.errors import DeployerError, InterruptedOperation, StepError, verb_exit
from deployer.lifecycle.steps import as_error
from state.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.lifecycle.session import Session


@dataclass
class Operation:
    """What the block has to say of the operation around it."""

    changed: bool = False


@contextmanager
def recorded(session: Session, title: str) -> Iterator[Operation]:
    """Record and report an operation that is no verb itself. The state is its verbs' business."""
    started = time.monotonic()
    session.store.start_operation(
        session.record(),
        operation_id=session.operation_id,
        verb=session.verb,
        token=session.token,
        details=session.details(),
    )
    session.publish(events.OperationStarted, verb=session.verb, title=title, porcelain=True)
    operation = Operation()
    try:
        yield operation
    except BaseException as problem:
        error = as_error(problem)
        if isinstance(error, StepError) and error.verb is None:
            # a look failed: its hosts are what provision answers for
            error.verb, error.exit_code = "provision", verb_exit("provision")
        error.resume = error.resume or session.call.resume or None
        _end(session, operation, started, error)
        if error is problem:
            raise
        raise error from problem
    _end(session, operation, started)


def _end(
    session: Session, operation: Operation, started: float, error: DeployerError | None = None
) -> None:
    seconds = time.monotonic() - started
    outcome = "succeeded"
    if error:
        outcome = "interrupted" if isinstance(error, InterruptedOperation) else "failed"
    try:
        record = session.record()
        session.store.end_operation(
            record,
            operation_id=session.operation_id,
            token=session.token,
            outcome=outcome,
            seconds=seconds,
            changed=operation.changed,
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
        session.publish(events.OperationFinished, changed=operation.changed, **common)
