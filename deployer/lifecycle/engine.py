"""Runs one verb: looks, writes its intent, acts step by step, records how it ended."""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from deployer import events
from deployer.environment.models import Configuration
from deployer.errors import (
    DeployerError,
    InterruptedOperation,
    NotAllowedError,
    StepError,
    verb_exit,
)
from deployer.lifecycle import hooks, look, undo
from deployer.lifecycle.steps import StepRun, VerbRun, as_error
from deployer.preflight import static
from deployer.results import VerbResult
from deployer.tools import process
from state import machine
from state.errors import StoreError
from state.history import new_operation_id
from state.machine import VERBS, Position, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.lifecycle.session import Session
    from deployer.lifecycle.steps import Step
    from state.records import EnvironmentRecord


def run_verb(
    session: Session,
    verb: str,
    *,
    index: int = 0,
    total: int = 0,
    options: dict[str, Any] | None = None,
) -> VerbResult:
    """Run `verb` in a session, from the recorded state to its success.

    Raises the `DeployerError` that ended it, with verb, step, exit code and the command that
    continues; the failure is recorded by then.
    """
    record = session.record()
    check_allowed(verb, record)
    return _Execution(session, verb, record, options or {}).run(index, total)


def rehearse(session: Session, verb: str) -> VerbRun:
    """Run `verb` in a dry session, whose steps only tell what they would change.

    Returns the run, with the steps in `done`. Raises what the verb would raise before it acts.
    """
    assert session.dry
    record = session.record()
    check_allowed(verb, record)
    execution = _Execution(session, verb, record, {})
    execution.run(0, 0)
    return execution.run_


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
            if VERBS[self.verb].raises and not self.porcelain and session.by_record is None:
                static.check(session.workspace, session.loaded(), hooks=not session.call.skip_hooks)
            steps = self._remaining(self.module.prepare(run))
            session.interrupt.check()
            if steps:
                steps = hooks.around(run, steps)
            else:
                healthy = self._confirmed()
                with session.store.transaction():  # nothing acts: no acting state is ever seen
                    self._begin(steps)
                    return self._succeed(healthy)
            self._begin(steps)
            for position, step in enumerate(steps):
                try:
                    self._step(step, first=position == 0)
                except InterruptedOperation:
                    if step.optional:  # the verb's own work is done, and stays done
                        self._end_workers()
                        self._succeed(healthy=False)
                    raise
            return self._succeed(self._confirmed())
        except BaseException as problem:
            raise self._fail(problem) from problem

    def _remaining(self, steps: list[Step]) -> list[Step]:
        """The steps from the one on that the last, failed execution did not finish.

        A step counts as finished only if its own look still finds its result.
        """
        session, run = self.session, self.run_
        known = session.store.checkpoint(run.record.id, self.verb)
        if session.call.from_start or not known:
            return steps
        done: list[Step] = []
        for step in steps:
            if step.name not in known or step.done is None or not step.done():
                break
            done.append(step)
        remaining = steps[len(done) :]
        if done:
            StepRun(run, done[-1]).progress(
                f"Resuming: {_titles(done)} done before, {_titles(remaining) or 'nothing'} remains",
                "note",
            )
            for step in done:
                StepRun(run, step).skip()
        return remaining

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
        try:
            step_run.act(started=first)
        except StepError as problem:
            if not step.optional:
                raise
            self.run_.warnings.append(f"{step.title} failed: {problem.message}")
            step_run.progress(f"{self.run_.warnings[-1]}; {self.verb} goes on", "warning")
        self.run_.changed = self.run_.changed or step_run.result.changed

    def _succeed(self, healthy: bool) -> VerbResult:
        run = self.run_
        position = machine.succeed(self.origin, self.verb, changed=run.changed, healthy=healthy)
        self._finish(position, "succeed", "succeeded", inputs=run.intent)
        self._publish(
            events.OperationFinished,
            state=position.state.value,
            changed=run.changed,
            seconds=self.seconds,
        )
        return VerbResult(self.verb, "succeeded", run.changed, self.seconds, warnings=run.warnings)

    def _confirmed(self) -> bool:
        """Whether a closing look confirms `running`, where that would be given back.

        Services may have died meanwhile. Without an answer nothing is confirmed, but the verb
        has not failed either.
        """
        given_back = self.verb in ("provision", "configure", "release") and not self.run_.changed
        if self.origin.state is not State.RUNNING or not given_back:
            return False
        try:
            return look.look(self.session.workspace, self.run_.record, self.session).healthy
        except StepError:
            return False

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
            # one that was only to be switched to is as good as it was
            good = outcome == "succeeded" or run.release.status == "released"
            release = (run.release.number, "released" if good else "failed")
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
            keep=run.keep if outcome == "succeeded" else None,
            healthy=run.serving if outcome == "succeeded" and self.verb == "run" else None,
            forget_releases=outcome == "succeeded" and self.verb in ("clear", "destroy"),
            forget_world=outcome == "succeeded" and self.verb == "destroy",
        )
        self._state_changed(before)

    def _end_workers(self) -> None:
        """The row of an operation is closed only when nothing works for it any more."""
        process.end(process.workers(self.run_.record.uuid, only=self.session.operation_id))

    def _fail(self, problem: BaseException) -> DeployerError:
        session, run = self.session, self.run_
        error = as_error(problem)
        error.verb = self.verb
        error.operation_id = session.operation_id
        error.resume = error.resume or session.call.resume or None
        if isinstance(error, StepError):
            error.exit_code = verb_exit(self.verb)
        outcome = "interrupted" if isinstance(error, InterruptedOperation) else "failed"
        try:
            written = session.store.operation(run.operation_id)
            run.record = session.record()
        except StoreError as unreadable:
            return as_error(unreadable)
        if written is None or written.outcome is not None:
            return error  # a second signal came right after the end was written
        # a second signal may also have come between the intent's write and our taking note of it
        run.acting = bool(written.acting)
        if run.acting:
            self._end_workers()
            if session.call.rollback:
                with session.interrupt.answered():
                    undo.undo(run)
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
    if VERBS[verb].raises and session.by_record is None:
        return session.loaded().configuration
    return Configuration.from_record(record.name, session.by_record or record.config)


def _titles(steps: list[Step]) -> str:
    return ", ".join(step.title for step in steps)


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> Iterator[Any]:
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}", before, after
