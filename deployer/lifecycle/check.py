"""check and repair: what differs between record and world, and the record lowered to that."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deployer.errors import FileError, GateError, LeaseError
from deployer.lifecycle import infrastructure, look, planner
from deployer.lifecycle.operation import recorded
from deployer.lifecycle.session import describe
from state import lease, machine

if TYPE_CHECKING:
    from deployer.environment.load import Loaded
    from deployer.lifecycle.session import Session
    from deployer.paths import Workspace
    from state.machine import Position
    from state.records import EnvironmentRecord
    from state.store import Store

_DONE = {"create": "created", "update": "changed", "replace": "replaced", "delete": "deleted"}
_GONE = ("hosts", "prepared", "release", "services")
"""What is gone where a look supports no more than this rank."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not as recorded. `what` names its kind, for programs."""

    what: str
    message: str
    host: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As the JSON envelope shows it."""
        return asdict(self)


def check(
    workspace: Workspace, record: EnvironmentRecord, loaded: Loaded | FileError
) -> list[Difference]:
    """Everything that differs from what is recorded. Changes nothing.

    `loaded` is the environment as its files say now, or why they can't be read. Raises
    `StepError` if a host doesn't answer.
    """
    found: list[Difference] = []
    if record.state in machine.ACTING and not lease.is_held(workspace.lock(record.name)):
        verb = machine.ACTING[record.state].name
        found.append(Difference("interrupted", f"{verb} was cut short: its process is gone"))
    seen = look.look(workspace, record)
    for host, facts in seen.hosts.items():
        found += _on_host(record, host, facts)
    for host, problem in seen.silent.items():
        message = f"{problem.message}. {problem.hint}".rstrip(". ")
        found.append(Difference("unreachable", message, host))
    if not seen.hosts and not seen.silent and record.rank > 0:
        found += [Difference("hosts", reason) for reason in seen.reasons]
    machines = infrastructure.recorded(workspace, record)
    if machines is not None and not lease.is_held(workspace.lock(record.name)):
        found += [
            Difference(
                "infrastructure", f"{change.address} differs: it would be {_DONE[change.action]}"
            )
            for change in machines.drift()
        ]
    if isinstance(loaded, FileError):
        message = f"the environment's files can't be read: {loaded.message}"
        found.append(Difference("files", message))
        return found
    last, profile = record.config.get("profile"), loaded.configuration.profile
    then = f", when the profile was {last or 'none'}" if last != profile else ""
    for verb in machine.RAISING[: max(0, record.rank)]:
        try:
            outdated = planner.is_outdated(workspace, record, loaded, verb)
        except GateError as problem:
            secrets = ", ".join(finding.message for finding in problem.findings)
            found.append(Difference("secrets", f"{verb} can't be compared: {secrets}"))
            continue
        if outdated:
            message = f"the input of {verb} has changed since it last ran{then}"
            found.append(Difference("configuration", message))
    return found


def _on_host(record: EnvironmentRecord, host: str, facts: dict[str, Any]) -> list[Difference]:
    serving = next(h.serving for h in record.hosts if h.name == host)
    found = []
    rank, reason = look.supported(facts, record)
    if rank < record.rank:
        found.append(Difference(_GONE[rank], reason, host))
    for name, service in facts["services"].items():
        if service["up"] and service["release"] not in serving:
            message = f"{name} runs release {service['release']}, which should not be up"
            found.append(Difference("serving", message, host))
    return found


@dataclass(frozen=True)
class Repair:
    """What a look writes: the record lowered to what is there."""

    before: Position
    after: Position
    reasons: list[str]

    @property
    def needed(self) -> bool:
        """Whether the record claims more than there is."""
        return self.before != self.after


def plan_repair(workspace: Workspace, store: Store, record: EnvironmentRecord) -> Repair:
    """What `apply_repair` would record. Changes nothing."""
    position, reasons = record.position, []
    if record.state in machine.ACTING:
        if lease.is_held(workspace.lock(record.name)):
            raise LeaseError(
                f"{record.name} is {record.state.value}, by {describe(store.lease(record.name))}",
                hint="What is being changed can't be judged; wait for it.",
            )
        verb = machine.ACTING[record.state].name
        reasons.append(f"{verb} was cut short")
        acting = (o for o in store.open_operations(record.id) if o.acting)
        position = next((machine.fail(o.origin, verb) for o in acting), position)
    if position.rank > 0:
        seen = look.look(workspace, record).answered()
        lowered = machine.lower(position, seen.supported)
        reasons += seen.reasons if lowered != position else []
        position = lowered
    return Repair(record.position, position, reasons)


def apply_repair(session: Session, planned: Repair) -> Repair:
    """Record what a look finds; opening the session has settled what was interrupted."""
    record = session.record()
    with recorded(session, f"Repairing {session.name}") as operation:
        after, reasons = planner.lowered(session, record)
        operation.changed = after.position != planned.before
    known = planned.reasons if after.position == planned.after else reasons
    return Repair(planned.before, after.position, known)
