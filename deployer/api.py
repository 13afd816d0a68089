"""The library: everything that the command line does, as methods of one class."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from deployer import apps, doctor, providers, reading
from deployer.apps.sources import Fetch, Sources
from deployer.environment.load import Loaded, load
from deployer.errors import FileError, Finding, LeaseError, NotFoundError, WorkspaceError
from deployer.events import Bus, Subscriber
from deployer.lifecycle import access, check, logs, look, porcelain, unlock
from deployer.lifecycle.create import Wish, create
from deployer.lifecycle.engine import run_verb
from deployer.lifecycle.operation import recorded
from deployer.lifecycle.plan import Plan, plan_deploy
from deployer.lifecycle.purge import purge
from deployer.lifecycle.session import Call, Session, open_session
from deployer.paths import Workspace, check_name
from deployer.preflight import static
from deployer.results import ReleaseView, Summary, VerbResult
from state import backup as backups
from state import lease, machine
from state.machine import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployer.apps.manifest import App
    from deployer.lifecycle.check import Difference, Repair
    from deployer.providers.manifest import Provider
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
        return self.compose(name, "deploy", call)

    def compose(self, name: str, command: str, call: Call | None = None, **options: Any) -> Summary:
        """Run a porcelain command: `deploy`, `redeploy`, `upgrade`, `rollback`, `reset`, `restart`.

        `options`: rollback takes `number`, reset `data`, restart `service`. Raises the error of
        the verb that fails.
        """
        check_name(name)
        started = time.monotonic()
        with open_session(self.workspace, name, command, call or Call(), self.bus) as session:
            if not session.record().exists:
                raise reading.not_found(self.workspace, name)
            ran = porcelain.COMPOSED[command](session, **options)
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

    def releases(self, name: str) -> list[ReleaseView]:
        """The releases of an environment, newest first."""
        return reading.releases(self.workspace, name)

    def status(self, name: str) -> Status:
        """What is recorded beside what is really running. Takes no lease, changes nothing."""
        summary = self.show(name)
        record = summary.record
        held = lease.is_held(self.workspace.lock(name))
        with reading.reading(self.workspace) as store:
            holder = store.lease(name) if store and held else None
        interrupted = record.state in machine.ACTING and not held
        return Status(summary, interrupted, holder, look.look(self.workspace, record))

    def check(self, name: str, call: Call | None = None) -> list[Difference]:
        """Each difference between what is recorded and what is there. Changes nothing."""
        record = self._existing(name)
        loaded: Loaded | FileError
        try:
            loaded = self._load(name, call, Fetch.NEVER)
        except FileError as problem:
            loaded = problem
        return check.check(self.workspace, record, loaded)

    def plan(self, name: str, call: Call | None = None) -> Plan:
        """What `deploy` would do, verb by verb. Takes no lease, changes nothing."""
        self._existing(name)
        return plan_deploy(self.workspace, name, call or Call())

    def to_confirm(self, name: str, call: Call | None = None) -> Plan | None:
        """The plan that somebody should agree to before `deploy`; None where none is needed.

        One is needed where a running environment would be changed, unless its file says
        `confirm = false`.
        """
        record = self.environment(name)
        if record.state is not State.RUNNING:
            return None
        call = call or Call()
        if not self._load(name, call, Fetch.MISSING).configuration.confirm:
            return None
        found = plan_deploy(self.workspace, name, call)
        return found if found.changes else None

    def validate(
        self,
        name: str,
        call: Call | None = None,
        *,
        fail_on: Literal["error", "warning"] = "error",
    ) -> tuple[Loaded, list[Finding]]:
        """Read the environment's files and prove what can be proved without its hosts.

        Returns the warnings too. With `fail_on="warning"` they are refused like errors.
        """
        check_name(name)
        loaded = self._load(name, call, Fetch.ALWAYS)
        return loaded, static.check(self.workspace, loaded, fail_on=fail_on)

    def configuration(self, name: str, call: Call | None = None) -> Loaded:
        """What the layers of an environment's configuration say, with where each value is from."""
        check_name(name)
        return self._load(name, call, Fetch.MISSING)

    def _load(self, name: str, call: Call | None, fetch: Fetch) -> Loaded:
        call = call or Call()
        sources = Sources(self.workspace, fetch)
        return load(self.workspace, name, call.overrides, sources, profile=call.profile)

    def logs(
        self,
        name: str,
        service: str | None = None,
        *,
        last: int = 100,
        since: float | None = None,
        follow: bool = False,
    ) -> Iterator[logs.Line]:
        """What the services wrote, or one of them: the last lines, none from before `since`.

        `since` is Unix time. Raises `NotFoundError` for an unknown service.
        """
        record = self.environment(name)
        if not record.exists:
            raise NotFoundError(
                f"The environment {name!r} is destroyed, and its services' logs with it",
                hint=f"What was done is in the history: deployer history {name}",
            )
        return logs.lines(self.workspace, record, service, last, since=since, follow=follow)

    def apps(self) -> list[tuple[str, App | FileError]]:
        """Every app that can be named without a folder, by name; or why it is none."""
        found: list[tuple[str, App | FileError]] = []
        for name in sorted(apps.available(self.workspace)):
            try:
                found.append((name, apps.find(self.workspace, name)))
            except FileError as problem:
                found.append((name, problem))
        return found

    def doctor(self) -> doctor.Diagnosis:
        """What this machine has of what deployer works with. Changes nothing."""
        return doctor.diagnose(self.workspace)

    def providers(self) -> list[tuple[Provider, str | None]]:
        """Every provider, and why it can't be used from here, None if it can."""
        found = [providers.find(self.workspace, n) for n in providers.available(self.workspace)]
        return [(provider, providers.unavailable(provider)) for provider in found]

    # ---- on hosts

    def shell(self, name: str, host: str | None = None) -> list[str]:
        """The command line that opens a shell on a host, the only one or the one that is named."""
        return access.shell(self.workspace, self._existing(name), host)

    def execute(
        self, name: str, command: list[str], *, host: str | None = None, group: str | None = None
    ) -> dict[str, access.Result]:
        """Run a command on hosts, side by side: all, one, or those of a group."""
        return access.execute(self.workspace, self._existing(name), command, host, group)
