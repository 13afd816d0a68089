"""The library: everything that the command line does, as methods of one class."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployer import reading
from deployer.environment.load import Loaded, load
from deployer.errors import Code, Exit, NotFoundError
from deployer.events import Bus, Subscriber
from deployer.lifecycle import look, planner
from deployer.lifecycle.create import Wish, create
from deployer.lifecycle.engine import run_verb
from deployer.lifecycle.session import Call, Session, open_session
from deployer.paths import Workspace, check_name
from deployer.preflight import static
from deployer.results import Summary, VerbResult
from state import lease, machine
from state.machine import State

if TYPE_CHECKING:
    from pathlib import Path

    from state.records import EnvironmentRecord, OperationRecord, StepRecord


@dataclass(frozen=True)
class Status:
    """What is recorded beside what is there."""

    summary: Summary
    interrupted: bool
    """A verb is recorded as acting, but nobody holds the lease."""
    holder: dict[str, Any] | None
    look: look.Look


class Deployer:
    """The environments of one workspace. `subscribers` get every event of every operation."""

    def __init__(self, workspace: Workspace, *subscribers: Subscriber) -> None:
        self.workspace = workspace
        self.bus = Bus(*subscribers)

    @classmethod
    def open(cls, start: str | Path | None = None, *subscribers: Subscriber) -> Deployer:
        """The workspace at `start`, or the one that `Workspace.find` finds."""
        return cls(Workspace.find(start), *subscribers)

    # ---- changing

    def create(self, name: str, wish: Wish | None = None, call: Call | None = None) -> Summary:
        """Write the environment's file where absent, and record it."""
        check_name(name)
        started = time.monotonic()
        with open_session(
            self.workspace, name, "create", call or Call(), self.bus, absent_ok=True
        ) as session:
            create(session, wish or Wish())
            seconds = time.monotonic() - started
            return self._summary(
                session, [VerbResult("create", "succeeded", True, seconds)], seconds
            )

    def deploy(self, name: str, call: Call | None = None) -> Summary:
        """Run the verbs that remain. Raises the error of the one that fails."""
        check_name(name)
        started = time.monotonic()
        with open_session(self.workspace, name, "deploy", call or Call(), self.bus) as session:
            ran = planner.deploy(session)
            return self._summary(session, ran, time.monotonic() - started)

    def run_verb(
        self,
        name: str,
        verb: str,
        call: Call | None = None,
        options: dict[str, Any] | None = None,
    ) -> Summary:
        """Run one plumbing verb other than `create`."""
        record = self.environment(name)
        if record.state is State.DESTROYED:
            if verb == "destroy":
                return self.show(name)
            raise reading.not_found(self.workspace, name)
        with open_session(self.workspace, name, verb, call or Call(), self.bus) as session:
            result = run_verb(session, verb, options=options)
            return self._summary(session, [result], result.seconds)

    def _summary(self, session: Session, ran: list[VerbResult], seconds: float) -> Summary:
        return reading.summary(
            session.store,
            self.workspace,
            session.name,
            ran,
            operation_id=session.operation_id,
            correlation_id=session.correlation_id,
            seconds=seconds,
        )

    # ---- reading

    def environments(self) -> list[EnvironmentRecord]:
        """Every environment that exists, by name."""
        return reading.environments(self.workspace)

    def environment(self, name: str) -> EnvironmentRecord:
        """The newest generation of an environment. Raises `NotFoundError`."""
        return reading.environment(self.workspace, name)

    def show(self, name: str) -> Summary:
        """One environment as it is recorded; `verbs` are those of its last operation."""
        return reading.show(self.workspace, name)

    def history(self, name: str, limit: int = -1) -> list[tuple[OperationRecord, list[StepRecord]]]:
        """Operations of all generations with their steps, oldest first."""
        return reading.history(self.workspace, name, limit)

    def status(self, name: str) -> Status:
        """What is recorded beside what is really running. Takes no lease, changes nothing."""
        summary = self.show(name)
        record = summary.record
        held = lease.is_held(self.workspace.lock(name))
        with reading.reading(self.workspace) as store:
            holder = store.lease(name) if store and held else None
        interrupted = record.state in machine.ACTING and not held
        return Status(summary, interrupted, holder, look.look(self.workspace, record))

    def validate(self, name: str, call: Call | None = None) -> Loaded:
        """Read the environment's files and prove what can be proved offline."""
        check_name(name)
        loaded = load(self.workspace, name, (call or Call()).overrides)
        static.check(self.workspace, loaded)
        return loaded

    def log_files(self, name: str, service: str | None = None) -> dict[str, Path]:
        """The log file of each service, or of one. Raises `NotFoundError` for an unknown one."""
        if not self.environment(name).exists:
            raise NotFoundError(
                f"The environment {name!r} is destroyed, and its services' logs with it",
                hint=f"What was done is in the history: deployer history {name}",
            )
        folder = self.workspace.host_dir(name) / "logs"
        found = {p.stem: p for p in sorted(folder.glob("*.log")) if p.stem != "supervisord"}
        if service is None:
            return found
        if service not in found:
            error = NotFoundError(
                f"{name} has no logs of a service {service!r}",
                hint=f"It has logs of: {', '.join(found) or 'none yet'}",
                code=Code.SERVICE_NOT_FOUND,
            )
            error.exit_code = Exit.ENVIRONMENT
            raise error
        return {service: found[service]}
