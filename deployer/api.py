"""The library: everything that the command line does, as methods of one class."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployer import reading
from deployer.environment.load import Loaded, load
from deployer.errors import Code, Exit, FileError, LeaseError, NotFoundError, WorkspaceError
from deployer.events import Bus, Subscriber
from deployer.lifecycle import check, look, planner, unlock
from deployer.lifecycle.create import Wish, create
from deployer.lifecycle.engine import run_verb
from deployer.lifecycle.operation import recorded
from deployer.lifecycle.purge import purge
from deployer.lifecycle.session import Call, Session, open_session
from deployer.paths import Workspace, check_name
from deployer.preflight import static
from deployer.results import Summary, VerbResult
from state import backup as backups
from state import lease, machine
from state.machine import State

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.lifecycle.check import Difference, Repair
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
        if verb == "destroy" and self.environment(name).state is State.DESTROYED:
            return self.show(name)
        self._existing(name)
        with open_session(self.workspace, name, verb, call or Call(), self.bus) as session:
            if not session.record().exists:  # destroyed while this one waited for the lease
                if verb == "destroy":
                    return self.show(name)
                raise reading.not_found(self.workspace, name)
            result = run_verb(session, verb, options=options)
            return self._summary(session, [result], result.seconds)

    def repair(self, name: str, call: Call | None = None, *, apply: bool = False) -> Repair:
        """What a look would lower of the record; `apply` records it."""
        record = self._existing(name)
        with reading.reading(self.workspace) as store:
            assert store
            planned = check.plan_repair(self.workspace, store, record)
        if not apply or not planned.needed:
            return planned
        with open_session(self.workspace, name, "repair", call or Call(), self.bus) as session:
            return check.apply_repair(session, planned)

    def unlock(
        self, name: str, call: Call | None = None, *, force: bool = False
    ) -> tuple[unlock.Holder | None, bool]:
        """Who holds the lease, and whether it was broken.

        A dead holder's lease is: what it left running is ended, what it left recorded is settled.
        A living one's only with `force`, which ends its operation first. Raises `LeaseError`.
        """
        record = self.environment(name)
        with reading.reading(self.workspace) as store:
            assert store
            found = unlock.holder(self.workspace, store, name)
            pending = bool(store.open_operations(record.id))
        if found is None or not (found.alive or pending):
            return found, False
        if found.alive:
            if not force:
                raise LeaseError(
                    f"{name} is held by {found}",
                    hint=f"Wait for it. To end that operation: deployer unlock {name} --force",
                    details={"holder": found.row},
                )
            unlock.end(self.workspace, found, name)
        with (
            open_session(self.workspace, name, "unlock", call or Call(), self.bus) as session,
            recorded(session, f"Unlocking {name}"),
        ):
            return found, True

    def purge(self, name: str, call: Call | None = None) -> None:
        """Remove every record of a destroyed environment, its logs too.

        Raises `NotAllowedError` while anything of it may be alive.
        """
        with open_session(self.workspace, name, "purge", call or Call(), self.bus) as session:
            purge(session)

    def backup(self, target: Path | None = None) -> backups.Copy:
        """Copy the store, by default to a new file in its folder of backups."""
        path = self.workspace.store
        if not path.exists():
            raise WorkspaceError(f"There is no store in {self.workspace.root} yet")
        return backups.backup(path, target or backups.folder(path) / backups.name("state"))

    def restore(self, source: Path) -> tuple[backups.Copy, Path | None]:
        """Put a copy of the store back. Returns it, and where the present store went."""
        if not source.is_file():
            raise WorkspaceError(f"There is no file {source}")
        return backups.restore(self.workspace.store, source)

    def _existing(self, name: str) -> EnvironmentRecord:
        record = self.environment(name)
        if not record.exists:
            raise reading.not_found(self.workspace, name)
        return record

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

    def check(self, name: str) -> list[Difference]:
        """Each difference between what is recorded and what is there. Changes nothing."""
        record = self._existing(name)
        try:
            loaded = load(self.workspace, name)
        except FileError:
            loaded = None
        return check.check(self.workspace, record, loaded)

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
