"""Steps: what a verb is made of, and how one is recorded, reported, retried and undone."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployer import events, redact
from deployer.errors import DeployerError, InterruptedOperation, WorkspaceError, unusable
from state.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployer.environment.models import Configuration
    from deployer.lifecycle.session import Session
    from deployer.results import Change
    from deployer.tools.ansible import TaskReport
    from state.records import EnvironmentRecord, HostRecord, ReleaseRecord

ATTEMPTS = 3


@dataclass(frozen=True)
class StepResult:
    """What a step did."""

    changed: bool = False
    detail: str = ""
    hosts: dict[str, str] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    """Thing by thing, as far as it is told: a preview tells it, an act has done it."""


@dataclass(frozen=True)
class Step:
    """One unit of a verb. `done` is its own look: it says whether its result is there already.

    `preview` says what `act` would change, and changes nothing; without one only its title is
    known before. The failure of an `optional` one is a warning; the verb goes on.
    """

    name: str
    title: str
    act: Callable[[StepRun], StepResult]
    done: Callable[[], bool] | None = None
    preview: Callable[[StepRun], StepResult] | None = None
    optional: bool = False


@dataclass
class VerbRun:
    """One execution of a verb, as its module sees it.

    `prepare` of that module looks, fills in what is to be recorded, and returns the steps.
    """

    session: Session
    verb: str
    operation_id: str
    record: EnvironmentRecord
    configuration: Configuration
    options: dict[str, Any] = field(default_factory=dict)
    intent: dict[str, Any] = field(default_factory=dict)
    """Recorded before the first change, and as the verb's inputs when it has succeeded."""
    hosts: list[HostRecord] | None = None
    release: ReleaseRecord | None = None
    keep: set[int] | None = None
    """The releases that stay on the hosts when the verb has succeeded; None: all."""
    serving: int | None = None
    """The release that may be up from the first change on."""
    changed: bool = False
    acting: bool = False
    host_outcomes: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    """What failed without failing the verb."""
    done: list[tuple[Step, StepResult]] = field(default_factory=list)
    """The steps that were done, or rehearsed, in order."""

    @contextmanager
    def looking(self, name: str, title: str) -> Iterator[StepRun]:
        """A step that only looks: shown and recorded, but it leaves the state alone.

        The block may set the step's `result`, for its detail.
        """
        step = StepRun(self, Step(name, title, lambda _: StepResult()))
        with step.recorded():
            yield step


class StepRun:
    """One execution of a step."""

    def __init__(self, run: VerbRun, step: Step) -> None:
        self.run = run
        self.step = step
        self.substeps = 0
        self.failures = 0
        self.attempts = 1
        self.result = StepResult()

    @property
    def timeout(self) -> float:
        """Seconds that the step may take."""
        return self.run.configuration.step_timeout

    def report(self, task: TaskReport) -> None:
        """Pass on what a tool says it did."""
        self.progress(task.title, task.outcome, task.host, task.seconds)

    def progress(
        self, title: str, outcome: str, host: str | None = None, seconds: float | None = None
    ) -> None:
        """Report something that happened inside the step."""
        self.substeps += outcome in ("ok", "changed", "warning")
        self.failures += outcome == "failed"
        self.publish(
            events.StepProgress,
            title=title,
            outcome=outcome,
            host=host,
            several=len(self.run.hosts or self.run.record.hosts) > 1,
            seconds=seconds,
        )

    def publish(self, kind: type[events.Event], **values: Any) -> None:
        """Publish an event of this step."""
        self.run.session.publish(
            kind,
            self.run.operation_id,
            verb=self.run.verb,
            step=self.step.name,
            **{"title": self.step.title, **values},
        )

    @contextmanager
    def recorded(self, *, started: bool = False) -> Iterator[None]:
        """Record and report the step around the block; `started`: its row is there already."""
        run = self.run
        store, token, name = run.session.store, run.session.token, run.session.name
        if not started:
            store.start_step(name, run.operation_id, token, (self.step.name, self.step.title))
        self.publish(events.StepStarted)
        began = time.monotonic()
        try:
            yield
        except BaseException as problem:
            error = as_error(problem)
            error.step = error.step or self.step.name
            seconds = time.monotonic() - began
            self.publish(
                events.StepFailed,
                seconds=seconds,
                attempts=self.attempts,
                substeps=self.failures,
                error=error.to_dict(),
            )
            if not isinstance(problem, StoreError):
                store.end_step(
                    name,
                    run.operation_id,
                    token,
                    outcome="interrupted" if _is_interruption(problem) else "failed",
                    attempts=self.attempts,
                    seconds=seconds,
                    hosts=run.host_outcomes or None,
                    error=error.to_dict(),
                )
            if error is problem:
                raise
            raise error from problem
        seconds = time.monotonic() - began
        store.end_step(
            name,
            run.operation_id,
            token,
            outcome="done",
            attempts=self.attempts,
            seconds=seconds,
            detail=redact.text(self.result.detail),
            hosts=self.result.hosts or None,
        )
        self.publish(
            events.StepFinished,
            title=self.result.detail or self.step.title,
            seconds=seconds,
            changed=self.result.changed,
            attempts=self.attempts,
            substeps=self.substeps,
        )

    def undo_with(self, kind: str, **arguments: Any) -> None:
        """Register how to undo what is about to be made: `undo.KINDS` knows the `kind`."""
        run = self.run
        run.session.store.register_undo(
            run.session.name, run.operation_id, run.session.token, kind, arguments
        )

    def act(self, *, started: bool) -> None:
        """Do the step; again after a transient error, `ATTEMPTS` times in all."""
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

        interrupt = self.run.session.interrupt
        retrying = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(multiplier=1),  # 1 s, then 2 s
            retry=retry_if_exception(lambda e: isinstance(e, DeployerError) and e.transient),
            before_sleep=lambda state: self.progress(
                f"{state.outcome and state.outcome.exception()}; trying again", "warning"
            ),
            sleep=interrupt.sleep,
            reraise=True,
        )
        with self.recorded(started=started):
            for attempt in retrying:
                with attempt:
                    self.attempts = attempt.retry_state.attempt_number
                    interrupt.check()
                    self.result = self._preview() if self.run.session.dry else self.step.act(self)
        self.run.done.append((self.step, self.result))

    def _preview(self) -> StepResult:
        return self.step.preview(self) if self.step.preview else StepResult()

    def skip(self, reason: str = "its result is there already") -> None:
        """Record and report that the step is not done, and why."""
        run = self.run
        store, token, name = run.session.store, run.session.token, run.session.name
        store.start_step(name, run.operation_id, token, (self.step.name, self.step.title))
        store.end_step(name, run.operation_id, token, outcome="skipped", attempts=0, seconds=0)
        self.publish(events.StepSkipped, reason=reason)


def as_error(problem: BaseException) -> DeployerError:
    """Any exception as what users are told; what is no `DeployerError` is a bug."""
    if isinstance(problem, DeployerError):
        return problem
    if isinstance(problem, KeyboardInterrupt):
        return InterruptedOperation("Interrupted")
    if isinstance(problem, StoreError):
        return WorkspaceError(problem.message, hint=problem.hint)
    if error := unusable(problem):
        return error
    return DeployerError(
        f"{type(problem).__name__}: {problem}",
        hint="This is a bug in deployer; please report it.",
    )


def _is_interruption(problem: BaseException) -> bool:
    return isinstance(problem, InterruptedOperation | KeyboardInterrupt)
