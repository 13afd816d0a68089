"""Runs one verb: looks, writes its intent, acts step by step, records how it ended."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from deployer import events
from deployer.environment.models import Configuration
from deployer.errors import (
    DeployerError,
    InterruptedOperation,
    NotAllowedError,
    StepError,
    WorkspaceError,
    unusable,
    verb_exit,
)
from deployer.lifecycle import look
from deployer.preflight import static
from deployer.results import VerbResult
from deployer.tools import process
from state import machine
from state.errors import StoreError
from state.machine import VERBS, Position, State
from state.store import new_operation_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployer.lifecycle.session import Session
    from deployer.tools.ansible import TaskReport
    from state.records import EnvironmentRecord, HostRecord, ReleaseRecord

ATTEMPTS = 3


@dataclass(frozen=True)
class StepResult:
    """What a step did."""

    changed: bool = False
    detail: str = ""
    hosts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One unit of a verb. `done` is its own look: it says whether its result is there already."""

    name: str
    title: str
    act: Callable[[StepRun], StepResult]
    done: Callable[[], bool] | None = None


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
    serving: int | None = None
    """The release that may be up from the first change on."""
    changed: bool = False
    acting: bool = False
    host_outcomes: dict[str, str] = field(default_factory=dict)

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
        self.substeps += outcome in ("ok", "changed")
        self.failures += outcome == "failed"
        self.publish(events.StepProgress, title=title, outcome=outcome, host=host, seconds=seconds)

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
            detail=self.result.detail,
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
                    self.result = self.step.act(self)

    def skip(self) -> None:
        """Record and report that the step's result is there already."""
        run = self.run
        store, token, name = run.session.store, run.session.token, run.session.name
        store.start_step(name, run.operation_id, token, (self.step.name, self.step.title))
        store.end_step(name, run.operation_id, token, outcome="skipped", attempts=0, seconds=0)
        self.publish(events.StepSkipped, reason="its result is there already")


def run_verb(
    session: Session,
    verb: str,
    *,
    index: int = 1,
    total: int = 1,
    options: dict[str, Any] | None = None,
) -> VerbResult:
    """Run `verb` in a session, from the recorded state to its success.

    Raises the `DeployerError` that ended it, with verb, step, exit code and the command that
    continues; the failure is recorded by then.
    """
    record = session.record()
    check_allowed(verb, record)
    return _Execution(session, verb, record, options or {}).run(index, total)


def check_allowed(verb: str, record: EnvironmentRecord) -> None:
    """Raise `NotAllowedError` unless the table allows `verb` now."""
    serving = bool(record.serving)
    if machine.allowed(verb, record.position, serving=serving):
        return
    first = machine.missing_verb(verb, record.position, serving=serving)
    able = machine.allowed_verbs(record.position, serving=serving)
    raise NotAllowedError(
        f"{verb} is not allowed while {record.name} is {record.state.value}"
        + (" and serving" if verb == "clear" and serving else ""),
        hint=(f"Run first: deployer {first} {record.name}. " if first else "")
        + f"Allowed now: {', '.join(able)}.",
        details={"state": record.state.value, "allowed": able},
    )


class _Execution:
    """One verb, from its first look to its recorded end."""

    def __init__(
        self, session: Session, verb: str, record: EnvironmentRecord, options: dict[str, Any]
    ) -> None:
        self.session = session
        self.verb = verb
        self.module = import_module(f"deployer.lifecycle.{verb}")
        self.origin = record.position
        self.porcelain = session.verb != verb
        self.started = time.monotonic()
        self.run_ = VerbRun(
            session=session,
            verb=verb,
            operation_id=new_operation_id() if self.porcelain else session.operation_id,
            record=record,
            configuration=configuration_of(session, verb, record),
            options=options,
        )

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def run(self, index: int, total: int) -> VerbResult:
        session, run = self.session, self.run_
        session.store.start_operation(
            run.record,
            operation_id=run.operation_id,
            verb=self.verb,
            token=session.token,
            parent_id=session.operation_id if self.porcelain else None,
            details=session.details(),
        )
        self._publish(
            events.OperationStarted, title=VERBS[self.verb].title, index=index, total=total
        )
        try:
            if VERBS[self.verb].raises and not self.porcelain:
                static.check(session.workspace, session.loaded())
            steps: list[Step] = self.module.prepare(run)
            session.interrupt.check()
            self._begin(steps)
            for position, step in enumerate(steps):
                self._step(step, first=position == 0)
            return self._succeed()
        except BaseException as problem:
            raise self._fail(problem) from problem

    def _publish(self, kind: type[events.Event], **values: Any) -> None:
        self.session.publish(kind, self.run_.operation_id, verb=self.verb, **values)

    def _begin(self, steps: list[Step]) -> None:
        run = self.run_
        config = run.configuration.to_record()
        for key, old, new in _differences(run.record.config, config):
            self.session.publish(
                events.ConfigurationChanged,
                run.operation_id,
                key=key,
                old_value=old,
                new_value=new,
            )
        run.record = self.session.store.begin(
            run.record,
            self.verb,
            operation_id=run.operation_id,
            token=self.session.token,
            config=config,
            intent=run.intent,
            hosts=run.hosts,
            serving=run.serving,
            release=run.release,
            step=(steps[0].name, steps[0].title) if steps else None,
        )
        run.acting = True
        self._state_changed(self.origin.state)

    def _state_changed(self, before: State) -> None:
        if self.run_.record.state != before:
            self.session.publish(
                events.StateChanged,
                self.run_.operation_id,
                from_state=before.value,
                to_state=self.run_.record.state.value,
            )

    def _step(self, step: Step, *, first: bool) -> None:
        step_run = StepRun(self.run_, step)
        step_run.act(started=first)
        self.run_.changed = self.run_.changed or step_run.result.changed

    def _succeed(self) -> VerbResult:
        run = self.run_
        # given back only where a look confirms it now: services may have died meanwhile
        healthy = (
            self.origin.state is State.RUNNING
            and not run.changed
            and VERBS[self.verb].raises
            and look.look(self.session.workspace, run.record).healthy
        )
        position = machine.succeed(self.origin, self.verb, changed=run.changed, healthy=healthy)
        self._finish(position, "succeed", "succeeded", inputs=run.intent)
        self._publish(
            events.OperationFinished,
            state=position.state.value,
            changed=run.changed,
            seconds=self.seconds,
        )
        return VerbResult(self.verb, "succeeded", run.changed, self.seconds)

    def _finish(
        self,
        position: Position,
        trigger: str,
        outcome: str,
        *,
        inputs: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> None:
        run = self.run_
        serving = None
        release = None
        if outcome == "succeeded":
            if self.verb == "run":
                serving = {host.name: [run.serving or 0] for host in run.record.hosts}
            elif self.verb in ("stop", "destroy"):
                serving = {host.name: [] for host in run.record.hosts}
        if run.release is not None:
            release = (run.release.number, "released" if outcome == "succeeded" else "failed")
        before = run.record.state
        run.record = self.session.store.finish(
            run.record,
            self.verb,
            operation_id=run.operation_id,
            token=self.session.token,
            trigger=f"{trigger}_{self.verb}",
            position=position,
            outcome=outcome,
            seconds=self.seconds,
            changed=run.changed,
            inputs=inputs,
            error=error,
            serving=serving,
            host_outcomes=run.host_outcomes,
            release=release,
            forget_releases=outcome == "succeeded" and self.verb in ("clear", "destroy"),
            forget_world=outcome == "succeeded" and self.verb == "destroy",
        )
        self._state_changed(before)

    def _fail(self, problem: BaseException) -> DeployerError:
        session, run = self.session, self.run_
        error = as_error(problem)
        error.verb = self.verb
        error.operation_id = session.operation_id
        error.resume = error.resume or session.call.resume or None
        if isinstance(error, StepError):
            error.exit_code = verb_exit(self.verb)
        outcome = "interrupted" if isinstance(error, InterruptedOperation) else "failed"
        if run.acting:
            # the row is closed only when nothing works for it any more
            process.end(process.workers(run.record.uuid, only=session.operation_id))
        try:
            if run.acting:
                position = machine.fail(self.origin, self.verb)
                self._finish(position, "fail", outcome, error=error.to_dict())
            else:
                session.store.end_operation(
                    run.record,
                    operation_id=run.operation_id,
                    token=session.token,
                    outcome=outcome,
                    seconds=self.seconds,
                    error=error.to_dict(),
                )
        except StoreError as unwritable:
            # what could not be recorded is settled by the next operation
            return as_error(unwritable)
        self._publish(
            events.OperationFailed,
            state=run.record.state.value,
            seconds=self.seconds,
            error=error.to_dict(),
        )
        return error


def configuration_of(session: Session, verb: str, record: EnvironmentRecord) -> Configuration:
    """The configuration that a verb acts by.

    `stop`, `clear` and `destroy` go by the one recorded with the last intent, so that a missing
    or broken file never blocks them.
    """
    if VERBS[verb].raises:
        return session.loaded().configuration
    return Configuration.from_record(record.name, record.config)


def as_error(problem: BaseException) -> DeployerError:
    """Any exception as what users are told; what is no `DeployerError` is a bug."""
    if isinstance(problem, DeployerError):
        return problem
    if isinstance(problem, KeyboardInterrupt):
        return InterruptedOperation("Interrupted")
    if isinstance(problem, StoreError):
        return WorkspaceError(problem.message, hint=problem.hint)
    found = unusable(problem)
    if found:
        return found
    return DeployerError(
        f"{type(problem).__name__}: {problem}",
        hint="This is a bug in deployer; please report it.",
    )


def _is_interruption(problem: BaseException) -> bool:
    return isinstance(problem, InterruptedOperation | KeyboardInterrupt)


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> Iterator[Any]:
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}", before, after
