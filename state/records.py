"""The rows of the store, as plain values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

from state.machine import NOTHING, Position, State

if TYPE_CHECKING:
    from sqlite3 import Row

_JSON = (
    "access",
    "arguments",
    "config",
    "intents",
    "inputs",
    "error",
    "hosts",
    "manifest",
    "groups",
    "serving",
)


class Record:
    """Builds a value from a row: JSON columns are decoded, columns that it lacks are left out."""

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """The value of one row of the table."""
        names = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        values = {}
        for key in row.keys():  # noqa: SIM118 - sqlite3.Row iterates over its values
            if key in names:
                value = row[key]
                values[key] = json.loads(value) if key in _JSON and value is not None else value
        return cls(**values)


@dataclass(frozen=True)
class HostRecord(Record):
    """One machine of an environment. `serving` names the releases that may be up there.

    `instance` is the provider's own id of the machine, where it has one; `access` says how to
    get in: key, jump, sudo_password (a reference), python. Empty for this machine itself.
    """

    name: str
    connection: str
    address: str
    root: str
    port: int | None = None
    user: str | None = None
    groups: list[str] = field(default_factory=list)
    serving: list[int] = field(default_factory=list)
    outcome: str | None = None
    instance: str | None = None
    access: dict[str, Any] | None = None


@dataclass(frozen=True)
class EnvironmentRecord(Record):
    """One generation of an environment.

    `config` is the configuration recorded with the last intent, `intents` what each verb last
    began with, `inputs` what each verb last succeeded with.
    """

    id: int
    name: str
    generation: int
    uuid: str
    state: State
    rank: int
    version: int
    created_at: str
    updated_at: str
    config: dict[str, Any] = field(default_factory=dict)
    intents: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    hosts: list[HostRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", State(self.state))

    @property
    def position(self) -> Position:
        """State and rank."""
        return Position(self.state, self.rank)

    @property
    def serving(self) -> list[int]:
        """Every release that may be up on any host, ascending."""
        return sorted({number for host in self.hosts for number in host.serving})

    @property
    def exists(self) -> bool:
        """Whether there is an environment, and not only the history of one."""
        return self.state not in NOTHING


@dataclass(frozen=True)
class OperationRecord(Record):
    """One execution of a verb or of a porcelain command; `parent_id` is that of the latter.

    `outcome` is None while it runs, then `succeeded`, `failed` or `interrupted`.
    """

    id: str
    environment_id: int
    verb: str
    token: int
    started_at: str
    parent_id: str | None = None
    command: str | None = None
    actor: str | None = None
    host: str | None = None
    pid: int | None = None
    correlation_id: str | None = None
    finished_at: str | None = None
    seconds: float | None = None
    outcome: str | None = None
    from_state: str | None = None
    from_rank: int | None = None
    acting: int | None = None
    to_state: str | None = None
    changed: int | None = None
    error: dict[str, Any] | None = None

    @property
    def origin(self) -> Position:
        """Where the verb started from."""
        assert self.from_state is not None and self.from_rank is not None
        return Position(State(self.from_state), self.from_rank)


@dataclass(frozen=True)
class StepRecord(Record):
    """One step of a verb. `outcome`: `started`, `done`, `skipped`, `failed` or `interrupted`."""

    id: int
    operation_id: str
    position: int
    name: str
    title: str
    outcome: str
    attempts: int = 0
    started_at: str | None = None
    seconds: float | None = None
    detail: str | None = None
    hosts: dict[str, str] | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class UndoRecord(Record):
    """How to undo something that an operation made. `outcome`: None, `done` or `failed`."""

    id: int
    operation_id: str
    kind: str
    arguments: dict[str, Any]
    outcome: str | None = None


@dataclass(frozen=True)
class ReleaseRecord(Record):
    """One release of an environment.

    `status`: `releasing`, `released`, `failed`, `pruned` or `cleared`; `healthy_at`: when `run`
    last found every service of it healthy.
    """

    environment_id: int
    number: int
    identity: str
    status: str
    created_at: str
    operation_id: str | None = None
    app: str | None = None
    app_version: str | None = None
    manifest: dict[str, Any] = field(default_factory=dict)
    healthy_at: str | None = None


@dataclass(frozen=True)
class TransitionRecord(Record):
    """One change of state."""

    id: int
    trigger: str
    from_state: str
    from_rank: int
    to_state: str
    to_rank: int
    at: str
    operation_id: str | None = None
