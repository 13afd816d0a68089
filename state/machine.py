"""THE table of states and verbs, and the machine built from it.

Everything that names a state or asks what is allowed reads this module: the engine, help texts,
the documentation's diagram and the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class State(StrEnum):
    """The states of an environment. `ABSENT` is never stored: nothing is recorded yet."""

    ABSENT = "absent"
    CREATED = "created"
    PROVISIONING = "provisioning"
    PROVISION_FAILED = "provision_failed"
    PROVISIONED = "provisioned"
    CONFIGURING = "configuring"
    CONFIGURE_FAILED = "configure_failed"
    CONFIGURED = "configured"
    RELEASING = "releasing"
    RELEASE_FAILED = "release_failed"
    RELEASED = "released"
    STARTING = "starting"
    RUN_FAILED = "run_failed"
    RUNNING = "running"
    STOPPING = "stopping"
    CLEARING = "clearing"
    DESTROYING = "destroying"
    DESTROY_FAILED = "destroy_failed"
    DESTROYED = "destroyed"


NO_RANK = -1
TOP_RANK = 4
BASE = (State.CREATED, State.PROVISIONED, State.CONFIGURED, State.RELEASED, State.RUNNING)
"""The state that stands for each rank, 0 to 4."""

NOTHING = (State.ABSENT, State.DESTROYED)
"""States in which no environment exists."""


@dataclass(frozen=True)
class Verb:
    """One row of the table.

    `needs` is the least rank the verb starts from (None: it has a rule of its own, see `allowed`).
    `success` and `failure` are None where the verb gives back the state that it found.
    """

    name: str
    title: str
    needs: int | None
    acting: State | None
    success: State | None
    failure: State | None

    @property
    def raises(self) -> bool:
        """Whether this verb is one of the four that bring an environment further."""
        return self.name in RAISING


VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb("create", "Creating environment", None, None, State.CREATED, None),
        Verb(
            "provision",
            "Provisioning infrastructure",
            0,
            State.PROVISIONING,
            State.PROVISIONED,
            State.PROVISION_FAILED,
        ),
        Verb(
            "configure",
            "Configuring system",
            1,
            State.CONFIGURING,
            State.CONFIGURED,
            State.CONFIGURE_FAILED,
        ),
        Verb(
            "release",
            "Releasing application",
            2,
            State.RELEASING,
            State.RELEASED,
            State.RELEASE_FAILED,
        ),
        Verb("run", "Starting services", 3, State.STARTING, State.RUNNING, State.RUN_FAILED),
        Verb("stop", "Stopping services", None, State.STOPPING, None, None),
        Verb("clear", "Clearing releases", 2, State.CLEARING, State.CONFIGURED, State.CONFIGURED),
        Verb(
            "destroy",
            "Destroying environment",
            None,
            State.DESTROYING,
            State.DESTROYED,
            State.DESTROY_FAILED,
        ),
    )
}

RAISING = ("provision", "configure", "release", "run")
"""What `deploy` composes, in order."""

ACTING: dict[State, Verb] = {v.acting: v for v in VERBS.values() if v.acting}

_RANK: dict[State, int] = {
    **{state: rank for rank, state in enumerate(BASE)},
    State.PROVISIONING: 0,
    State.PROVISION_FAILED: 0,
    State.CONFIGURING: 1,
    State.CONFIGURE_FAILED: 1,
    State.RELEASING: 2,
    State.RELEASE_FAILED: 2,
    State.CLEARING: 2,
    State.STARTING: 3,
    State.RUN_FAILED: 3,
    State.ABSENT: NO_RANK,
    State.DESTROYING: NO_RANK,
    State.DESTROY_FAILED: NO_RANK,
    State.DESTROYED: NO_RANK,
}

SETTLED = tuple(s for s in _RANK if s not in ACTING and s is not State.ABSENT)
"""Stored states in which no verb is acting."""


@dataclass(frozen=True)
class Position:
    """Where an environment stands: its state and how far it has come (rank -1 to 4)."""

    state: State
    rank: int

    @classmethod
    def of(cls, state: State) -> Position:
        """The position of a settled state (for `stopping` the rank depends on the origin)."""
        return cls(state, _RANK[state])


def success_rank(verb: str) -> int:
    """The rank that a raising verb's success proves, 1 to 4."""
    success = VERBS[verb].success
    assert success is not None and verb in RAISING
    return _RANK[success]


def allowed(verb: str, position: Position, *, serving: bool = False) -> bool:
    """Whether `verb` may start from a settled `position`.

    `serving` says whether any release may be up: `clear` is refused then.
    """
    state, rank = position.state, position.rank
    if verb == "create":
        return state in NOTHING
    if state in NOTHING:
        return verb == "destroy" and state is State.DESTROYED
    if verb == "destroy":
        return True
    if verb == "stop":
        return True
    if state is State.DESTROY_FAILED:
        return False
    if verb == "clear" and serving:
        return False
    needs = VERBS[verb].needs
    return needs is not None and rank >= needs


def allowed_verbs(position: Position, *, serving: bool = False) -> list[str]:
    """Every verb that may start from here, in the table's order."""
    return [name for name in VERBS if allowed(name, position, serving=serving)]


def missing_verb(verb: str, position: Position, *, serving: bool = False) -> str | None:
    """The verb to run first, where `verb` is not allowed at `position`; None if none would help."""
    if position.state in NOTHING:
        return "create"
    if position.state is State.DESTROY_FAILED:
        return "destroy"
    if verb == "clear" and serving:
        return "stop"
    if verb in VERBS and VERBS[verb].needs is not None and 0 <= position.rank < len(RAISING):
        return RAISING[position.rank]
    return None


# Where a verb leads. Each function is pure; `Machine` below refuses what no row allows.


def begin(origin: Position, verb: str) -> Position:
    """The position while `verb` acts; written before its first change."""
    acting = VERBS[verb].acting
    assert acting is not None
    if acting is State.STOPPING:
        return Position(acting, min(origin.rank, _RANK[State.RELEASED]))
    return Position.of(acting)


def succeed(origin: Position, verb: str, *, changed: bool, healthy: bool = False) -> Position:
    """The position after `verb` succeeded, having started from `origin`.

    A raising verb that changed nothing gives back a state at or above its own; `running` only
    if a closing look found the services `healthy`.
    """
    row = VERBS[verb]
    if verb == "stop":
        return Position.of(State.RELEASED) if origin.state is State.RUNNING else origin
    assert row.success is not None
    done = Position.of(row.success)
    if verb in ("provision", "configure", "release") and not changed and origin.rank >= done.rank:
        if origin.state is State.RUNNING and not healthy:
            return Position.of(State.RELEASED)
        return origin
    return done


def fail(origin: Position, verb: str) -> Position:
    """The position after `verb` failed or was interrupted while acting, started from `origin`."""
    if origin.state is State.DESTROY_FAILED or verb == "destroy":
        return Position.of(State.DESTROY_FAILED)
    if verb == "stop":
        return Position.of(State.RELEASED) if origin.state is State.RUNNING else origin
    failure = VERBS[verb].failure
    assert failure is not None
    return Position.of(failure)


def lower(position: Position, supported: int) -> Position:
    """What a look leaves: no more rank than the world supports (`supported`, 0 to 4)."""
    if position.rank <= supported:
        return position
    return Position.of(BASE[supported])


@dataclass(frozen=True)
class Edge:
    """One step of the machine: `trigger` leads from `source` to `dest`."""

    trigger: str
    source: State
    dest: State


def edges() -> Iterator[Edge]:
    """Every step that the table allows, derived from the functions above."""
    origins = [State.ABSENT, *SETTLED]
    seen = set()
    for state in origins:
        origin = Position.of(state)
        found = []
        for name, verb in VERBS.items():
            if not allowed(name, origin) or (state is State.DESTROYED and name == "destroy"):
                continue
            if verb.acting is None:
                found.append(Edge(f"succeed_{name}", state, State.CREATED))
                continue
            found.append(Edge(f"begin_{name}", state, verb.acting))
            for changed in (True, False):
                for healthy in (True, False):
                    after = succeed(origin, name, changed=changed, healthy=healthy)
                    found.append(Edge(f"succeed_{name}", verb.acting, after.state))
            found.append(Edge(f"fail_{name}", verb.acting, fail(origin, name).state))
        found += [
            Edge("look", state, BASE[rank]) for rank in range(origin.rank) if origin.rank > rank
        ]
        for edge in found:
            if edge not in seen:
                seen.add(edge)
                yield edge


class Lifecycle:
    """The plain object that a `transitions.Machine` is bound to."""

    def __init__(self, state: State) -> None:
        self.state: Any = state


class ForbiddenMove(Exception):
    """A move that no row of the table allows: a bug, or a store edited by hand."""


def move(source: State, trigger: str, dest: State) -> None:
    """Check a move against the machine built from the table.

    Raises `ForbiddenMove` if `trigger` does not lead from `source` to `dest`.
    """
    from transitions import Machine, MachineError

    lifecycle = Lifecycle(source)
    found = [edge for edge in edges() if edge.source == source and edge.trigger == trigger]
    machine = Machine(
        model=lifecycle,
        states=sorted({source, dest, *(edge.dest for edge in found)}),
        initial=source,
        auto_transitions=False,
        send_event=True,
    )
    for edge in found:
        machine.add_transition(
            edge.trigger,
            edge.source,
            edge.dest,
            conditions=lambda event, dest=edge.dest: event.kwargs["dest"] == dest,
        )
    try:
        moved = bool(found) and lifecycle.trigger(trigger, dest=dest)  # type: ignore[attr-defined]
    except MachineError:
        moved = False
    if not moved:
        raise ForbiddenMove(f"{trigger} does not lead from {source} to {dest}")
