"""One operation on one environment: its lease, its place in the history, and its end."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from deployer import events, redact
from deployer.apps.sources import Fetch, Sources
from deployer.environment.load import Loaded, load
from deployer.environment.models import Configuration
from deployer.environment.secrets import Vault
from deployer.errors import DeployerError, LeaseError
from deployer.lifecycle.eventlog import EventLog
from deployer.paths import private_dir
from deployer.reading import environment, not_found
from deployer.tools import ansible, process, ssh
from deployer.tools.interrupt import Interrupt
from state import lease
from state.errors import LockedError, StoreError
from state.history import new_operation_id
from state.machine import NOTHING
from state.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployer.environment.secrets import Ask
    from deployer.paths import Workspace
    from state.records import EnvironmentRecord


NOT_RELEASING = ("provision", "configure", "run")
"""What doesn't release need not know the newest commit: a silent repository keeps nothing down."""


@dataclass(frozen=True)
class Call:
    """How an operation was asked for; the same for every verb inside it."""

    overrides: Sequence[str] = ()
    """`--set`: key=value."""
    profile: str | None = None
    """A file over the environment's: a path, or a name of `profiles/`."""
    lock_wait: float = 0.0
    resume: str = ""
    """The exact command that continues after a failure."""
    command: str = ""
    """The command line, for the history and the lease."""
    from_start: bool = False
    """Run every step, also those that a failed execution has completed."""
    rollback: bool = False
    """Undo what a failing verb has made."""
    skip_hooks: bool = False
    """Run no hooks, and don't ask whether they could be run."""
    ask: Ask | None = None
    """Asks a person for a secret; None where nobody is there."""


@dataclass
class Session:
    """A held lease, and all that the verbs of this operation share."""

    workspace: Workspace
    store: Store
    bus: events.Bus
    interrupt: Interrupt
    name: str
    verb: str
    """The command that was asked for: a verb, or a porcelain one whose verbs are its children."""
    call: Call
    operation_id: str
    correlation_id: str
    token: int = 0
    dry: bool = False
    """Steps tell what they would change, and change nothing: a rehearsal."""
    by_record: dict[str, Any] | None = None
    """The recorded configuration that verbs go by; then no file of the user is read."""
    _loaded: Loaded | None = field(default=None, repr=False)

    def record(self) -> EnvironmentRecord:
        """The environment as it is recorded now."""
        found = self.store.environment(self.name)
        if found is None:
            raise not_found(self.workspace, self.name)
        return found

    def loaded(self) -> Loaded:
        """The environment file with its app and provider, read once for each operation."""
        if self._loaded is None:
            found = load(
                self.workspace,
                self.name,
                self.call.overrides,
                self.sources,
                profile=self.call.profile,
            )
            self._tell_of_profile(found.layers.profile)
            self._loaded = replace(found, secrets=self.secrets)
        return self._loaded

    def _tell_of_profile(self, profile: str | None) -> None:
        last = self.record().config.get("profile")
        if profile != last:
            self.publish(
                events.StepProgress,
                verb=self.verb,
                step="profile",
                title=f"{profile or 'no profile'} this time; last time it was {last or 'none'}",
                outcome="warning",
            )

    @cached_property
    def secrets(self) -> Vault:
        """The secrets that verbs of this operation have asked for, each of them once."""

        def ask(what: str) -> str:
            assert self.call.ask
            with self.interrupt.given_back():
                return self.call.ask(what)

        def warn(text: str) -> None:
            self.publish(
                events.StepProgress, verb=self.verb, step="secrets", title=text, outcome="warning"
            )

        return Vault(self.workspace.root, ask if self.call.ask else None, warn)

    @cached_property
    def sources(self) -> Sources:
        """Where an app that is no folder comes from; for all verbs the same commit."""
        found = self.store.environment(self.name)
        return Sources(
            self.workspace,
            Fetch.MISSING if self.verb in NOT_RELEASING else Fetch.ALWAYS,
            more=process.child_environment(found.uuid, self.operation_id) if found else None,
            check=self.interrupt.check,
            told=lambda what, outcome, seconds: self.publish(
                events.StepProgress,
                verb=self.verb,
                step="source",
                title=what,
                outcome=outcome,
                seconds=seconds,
            ),
        )

    def details(self) -> dict[str, Any]:
        """What the history keeps of who asked for what, from where."""
        return {
            "actor": actor(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "command": redact.text(self.call.command),
            "correlation_id": self.correlation_id,
        }

    def publish(self, kind: type[events.Event], operation_id: str = "", **values: Any) -> None:
        """Publish an event of this operation, or of a verb inside it."""
        self.bus.publish(
            kind(
                environment=self.name,
                operation_id=operation_id or self.operation_id,
                correlation_id=self.correlation_id,
                **values,
            )
        )


def actor() -> str:
    """The user who runs this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


@contextmanager
def open_session(
    workspace: Workspace,
    name: str,
    verb: str,
    call: Call,
    bus: events.Bus,
    *,
    absent_ok: bool = False,
) -> Iterator[Session]:
    """Take the lease of `name` for one operation, mend what a dead one left, and free it.

    Raises `LeaseError` if another operation holds it, `NotFoundError` if there is nothing to
    operate on and not `absent_ok`.
    """
    if not absent_ok:
        environment(workspace, name)
    with Interrupt() as interrupt:
        store = Store.open(workspace.store)
        operation_id = new_operation_id()
        session = Session(
            workspace=workspace,
            store=store,
            bus=bus,
            interrupt=interrupt,
            name=name,
            verb=verb,
            call=call,
            operation_id=operation_id,
            correlation_id=os.environ.get("DEPLOYER_CORRELATION_ID") or operation_id,
        )
        lock = _lock(session, verb)
        log = EventLog(workspace.log(name, operation_id))
        bus.subscribe(log)
        try:
            holder = {k: v for k, v in session.details().items() if k != "correlation_id"}
            session.token = store.take_lease(name, operation_id=operation_id, holder=holder)
            _mend(session)
            yield session
        except DeployerError as error:
            error.operation_id = error.operation_id or operation_id
            error.log = error.log or (str(log.path) if log.path.exists() else None)
            raise
        finally:
            bus.unsubscribe(log)
            try:
                _hang_up(session)
                _prune(session)
            finally:
                gone = _gone(store, name)
                lock.release(remove=gone)
                store.close()


def _hang_up(session: Session) -> None:
    """End the connections that this operation has kept open for its next steps."""
    with suppress(StoreError):
        record = session.store.environment(session.name)
        # what was destroyed has no hosts any more, but connections to them
        sockets = private_dir("ssh") / record.uuid[:12] if record else None
        if record and sockets and sockets.is_dir():
            ssh.close(sockets, process.child_environment(record.uuid, None))
            if not record.hosts:
                shutil.rmtree(sockets, ignore_errors=True)


def _prune(session: Session) -> None:
    """Keep no more operations than the environment wants, nor their logs."""
    try:
        record = session.store.environment(session.name)
        if record is None:
            return
        keep = record.config.get("keep_operations", Configuration.keep_operations)
        for removed in session.store.prune(session.name, session.token, keep):
            session.workspace.log(session.name, removed).unlink(missing_ok=True)
    except (StoreError, OSError):
        return  # what the operation did is done; the next one prunes


def _gone(store: Store, name: str) -> bool:
    try:
        record = store.environment(name)
    except StoreError:  # the lock file is then left behind
        return False
    return record is None or record.state in NOTHING


def _lock(session: Session, verb: str) -> lease.Lock:
    last_notice = 0.0

    def on_wait(holder: dict[str, object], waited: float) -> None:
        nonlocal last_notice
        session.interrupt.check()
        if waited - last_notice >= 5.0:
            last_notice = waited
            session.publish(
                events.StepProgress,
                verb=verb,
                step="lease",
                title=f"waiting for {describe(holder)}",
                outcome="waiting",
                seconds=waited,
            )

    _refuse_hooks(session)
    try:
        return lease.acquire(
            session.workspace.lock(session.name),
            holder=lambda: session.store.lease(session.name),
            wait=session.call.lock_wait,
            on_wait=on_wait,
        )
    except LockedError as locked:
        raise LeaseError(
            f"{session.name} is locked by {describe(locked.holder)}",
            hint="Wait for it with --lock-wait SECONDS, or look at it: "
            f"deployer history {shlex.quote(session.name)}",
            details={"holder": locked.holder},
        ) from None


def _refuse_hooks(session: Session) -> None:
    """A hook that calls for a lease which its own operation holds would wait for itself."""
    record = session.store.environment(session.name)
    caller = os.environ.get(process.OPERATION_VARIABLE)
    if caller is None or record is None:
        return
    found = session.store.operation(caller)
    if found and found.environment_id == record.id and found.outcome is None:
        raise LeaseError(
            f"this is called from a hook of the operation {caller}, which holds {session.name} "
            "itself",
            hint="A hook may read: list, show, status, check, history, releases, logs.",
            details={"operation": caller},
        )


def describe(holder: dict[str, Any]) -> str:
    """A lease's holder in words."""
    if not holder:
        return "another operation"
    return (
        f"{holder.get('actor')} on {holder.get('host')} (pid {holder.get('pid')}, "
        f"since {holder.get('started_at')}): {holder.get('command')}"
    )


def _mend(session: Session) -> None:
    """End what a dead operation left running, and settle what it left recorded.

    An operation closes its row only after its children were reaped, so that a closed last row
    means that there is nothing to look for.
    """
    record = session.store.environment(session.name)
    if record is None or not session.store.open_operations(record.id):
        return
    started = time.monotonic()
    ended = process.end_orphans(record.uuid, session.operation_id)
    ansible.sweep(record.uuid)
    shutil.rmtree(session.workspace.build_dir(session.name), ignore_errors=True)
    before = record.state
    settled = session.store.settle(
        record,
        token=session.token,
        operation_id=session.operation_id,
        error={
            "code": "INTERRUPTED",
            "message": "Its process ended before it was done; "
            f"{session.operation_id} took over and ended {ended} of its processes",
        },
    )
    session.publish(
        events.StepProgress,
        verb="look",
        step="take-over",
        title="took over from an operation that was cut short"
        + (f"; ended {ended} of its processes" if ended else ""),
        outcome="warning",
        seconds=time.monotonic() - started,
    )
    if settled.state != before:
        session.publish(events.StateChanged, from_state=before.value, to_state=settled.state.value)
