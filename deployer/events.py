"""Events: the only way anything is reported. Consoles, the JSON stream and the log subscribe."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from deployer import redact


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Event(BaseModel):
    """Base of all events. Times are UTC, ISO 8601; durations are seconds."""

    # built when first used: a command without anything to do has few events
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    event: str
    at: str = Field(default_factory=_now)
    environment: str
    operation_id: str
    correlation_id: str


class OperationStarted(Event):
    """A verb or a porcelain command starts. Inside one, a verb is the `index`-th of `total`."""

    event: Literal["OperationStarted"] = "OperationStarted"
    verb: str
    title: str
    index: int = 0
    total: int = 0
    porcelain: bool = False


class OperationFinished(Event):
    """It succeeded; `state` is the environment's now."""

    event: Literal["OperationFinished"] = "OperationFinished"
    verb: str
    state: str
    changed: bool
    seconds: float
    porcelain: bool = False


class OperationFailed(Event):
    """It failed or was interrupted; `error` is the one of the JSON envelope."""

    event: Literal["OperationFailed"] = "OperationFailed"
    verb: str
    state: str
    seconds: float
    error: dict[str, Any]
    porcelain: bool = False


class StepStarted(Event):
    """A step of a verb starts."""

    event: Literal["StepStarted"] = "StepStarted"
    verb: str
    step: str
    title: str


class StepProgress(Event):
    """Something happened inside a step: a task started or ended, a warning, a wait.

    With the outcome `output`, the title is a line that a command of the application wrote.
    """

    event: Literal["StepProgress"] = "StepProgress"
    verb: str
    step: str
    title: str
    outcome: Literal["started", "ok", "changed", "failed", "warning", "waiting", "note", "output"]
    host: str | None = None
    several: bool = False
    """Whether other hosts are in the same step, so that a line must name this one."""
    seconds: float | None = None


class StepFinished(Event):
    """A step succeeded. `substeps` says how many results were reported inside it."""

    event: Literal["StepFinished"] = "StepFinished"
    verb: str
    step: str
    title: str
    seconds: float
    changed: bool
    attempts: int = 1
    substeps: int = 0


class StepFailed(Event):
    """A step failed, for good. `substeps` says how many failures were reported inside it."""

    event: Literal["StepFailed"] = "StepFailed"
    verb: str
    step: str
    title: str
    seconds: float
    attempts: int = 1
    substeps: int = 0
    error: dict[str, Any]


class StepSkipped(Event):
    """A step was not run: its own look found its result."""

    event: Literal["StepSkipped"] = "StepSkipped"
    verb: str
    step: str
    title: str
    reason: str


class ResourceCreated(Event):
    """Something now exists outside the workspace."""

    event: Literal["ResourceCreated"] = "ResourceCreated"
    provider: str
    resource_type: str
    resource_id: str


class ResourceDeleted(Event):
    """Something outside the workspace is gone."""

    event: Literal["ResourceDeleted"] = "ResourceDeleted"
    provider: str
    resource_type: str
    resource_id: str


class StateChanged(Event):
    """The environment's state was written."""

    event: Literal["StateChanged"] = "StateChanged"
    from_state: str
    to_state: str


class ConfigurationChanged(Event):
    """A value of the configuration differs from the last intent's."""

    event: Literal["ConfigurationChanged"] = "ConfigurationChanged"
    key: str
    old_value: Any
    new_value: Any


Subscriber = Callable[[Event], None]


class Bus:
    """Hands each event to every subscriber, in the order of publication."""

    def __init__(self, *subscribers: Subscriber) -> None:
        self._subscribers = list(subscribers)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Add a subscriber."""
        self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Remove a subscriber."""
        self._subscribers.remove(subscriber)

    def publish(self, event: Event) -> None:
        """Hand an event out, without secrets.

        A subscriber that fails never fails a deployment: it is dropped.
        """
        told = vars(event)
        safe = redact.data(told)
        if safe != told:
            event = event.model_copy(update=safe)
        for subscriber in list(self._subscribers):
            try:
                subscriber(event)
            except Exception:
                self._subscribers.remove(subscriber)
