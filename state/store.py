"""The database: environments, operations, steps, transitions, releases, hosts, ports, leases.

Nothing above this package knows SQL. Every write of an operation checks its fencing token, and
every change of state compares the version that was read, in one `BEGIN IMMEDIATE`.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import uuid
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

from state import machine, migrations
from state.errors import ConflictError, OutdatedTokenError, StoreError
from state.machine import NOTHING, Position, State
from state.records import (
    EnvironmentRecord,
    HostRecord,
    OperationRecord,
    ReleaseRecord,
    StepRecord,
    TransitionRecord,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from sqlite_utils import Database

BUSY_TIMEOUT = 30.0  # seconds that a writer waits for another one


def utc_now() -> str:
    """This moment in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def new_operation_id() -> str:
    """A new operation's id: sorts by time, unique across processes."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


class Store:
    """An open store. A connection belongs to the thread that opened it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the store for writing; create it, or migrate it, where that is due.

        Raises `StoreError` where it is unusable, naming the newest backup where one exists.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            ignore = path.parent / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", encoding="utf-8")
            _refuse_emptied(path)
            if not path.exists():
                # 0600 whatever the umask, before anything is in it
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
                path.chmod(0o600)
            connection = _connect(path, f"file:{_quote(path)}")
            store = cls(connection, path)
            with store.usable():
                if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                    connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                migrations.migrate(connection, path)
        except OSError as problem:
            raise StoreError(
                f"The store {path} can't be written: {problem.strerror or problem}", _remedy(path)
            ) from problem
        return store

    @classmethod
    def read(cls, path: Path) -> Store | None:
        """Open the store for reading only; None where there is none yet. Creates nothing."""
        _refuse_emptied(path)
        if not path.exists():
            return None
        # A WAL store that nobody has open needs a writable folder to be read, unless it is
        # declared immutable; without a -wal file that is the truth in a read-only folder.
        writable = os.access(path.parent, os.W_OK) or path.with_name(path.name + "-wal").exists()
        mode = "mode=ro" if writable else "immutable=1"
        store = cls(_connect(path, f"file:{_quote(path)}?{mode}"), path)
        with store.usable():
            migrations.check_version(store._connection, path)
            if migrations.version(store._connection) < len(migrations.MIGRATIONS):
                store._connection.close()
                return cls.open(path)
        return store

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def usable(self) -> Iterator[None]:
        """Turn what SQLite says of an unusable store into a `StoreError`."""
        try:
            yield
        except sqlite3.Error as problem:
            self._refuse(problem)

    def _refuse(self, problem: sqlite3.Error) -> NoReturn:
        damaged = isinstance(problem, sqlite3.DatabaseError) and not isinstance(
            problem, sqlite3.OperationalError | sqlite3.IntegrityError
        )
        if damaged:
            raise StoreError(
                f"The store {self.path} is damaged: {problem}", _backup_hint(self.path)
            ) from problem
        raise StoreError(
            f"The store {self.path} can't be used: {problem}", _remedy(self.path)
        ) from problem

    @cached_property
    def _db(self) -> Database:
        from sqlite_utils import Database

        return Database(self._connection, execute_plugins=False)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One atomic, durable change; nothing of it stays where the block raises."""
        with self.usable():
            self._connection.execute("BEGIN IMMEDIATE")
        try:
            with self.usable():
                yield
                self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self.usable():
            return self._connection.execute(sql, values).fetchall()

    # ---- environments

    def environments(self) -> list[EnvironmentRecord]:
        """The newest generation of every environment, by name."""
        rows = self._rows(
            "SELECT e.* FROM environments e JOIN (SELECT name, MAX(generation) AS generation"
            " FROM environments GROUP BY name) USING (name, generation) ORDER BY name"
        )
        hosts: dict[int, list[HostRecord]] = {}
        for row in self._rows("SELECT * FROM hosts ORDER BY name"):
            hosts.setdefault(row["environment_id"], []).append(HostRecord.from_row(row))
        return [_environment(row, hosts.get(row["id"], [])) for row in rows]

    def environment(self, name: str) -> EnvironmentRecord | None:
        """The newest generation of the environment `name`, or None."""
        rows = self._rows(
            "SELECT * FROM environments WHERE name = ? ORDER BY generation DESC LIMIT 1", name
        )
        if not rows:
            return None
        hosts = self._rows(
            "SELECT * FROM hosts WHERE environment_id = ? ORDER BY name", rows[0]["id"]
        )
        return _environment(rows[0], [HostRecord.from_row(host) for host in hosts])

    def generations(self, name: str) -> list[EnvironmentRecord]:
        """Every generation of an environment, newest first; hosts are left out."""
        rows = self._rows(
            "SELECT * FROM environments WHERE name = ? ORDER BY generation DESC", name
        )
        return [_environment(row, []) for row in rows]

    def create_environment(
        self,
        name: str,
        *,
        token: int,
        config: Mapping[str, Any],
        ports: Mapping[str, int],
        operation_id: str,
        details: Mapping[str, Any],
    ) -> EnvironmentRecord:
        """Record a new generation in state `created`. Call it inside `transaction`.

        `ports` maps settings to the port numbers reserved for them; `details` are those of the
        operation, its seconds included. Raises `ConflictError` if the environment exists.
        """
        self._check_token(name, token)
        last = self.environment(name)
        origin = last.state if last else State.ABSENT
        if origin not in NOTHING:
            raise ConflictError(f"{name} exists already")
        done = machine.succeed(Position.of(origin), "create", changed=True)
        machine.move(origin, "succeed_create", done.state)
        now = utc_now()
        self._db.table("environments").insert(
            {
                "name": name,
                "generation": last.generation + 1 if last else 1,
                "uuid": str(uuid.uuid4()),
                "state": done.state.value,
                "rank": done.rank,
                "version": 1,
                "config": json.dumps(config),
                "intents": "{}",
                "inputs": "{}",
                "created_at": now,
                "updated_at": now,
            }
        )
        record = self.environment(name)
        assert record is not None
        for setting, port in ports.items():
            self._db.table("ports").insert(
                {"port": port, "environment_id": record.id, "setting": setting}
            )
        self._db.table("operations").insert(
            {
                "id": operation_id,
                "environment_id": record.id,
                "verb": "create",
                "token": token,
                "started_at": now,
                "finished_at": now,
                "outcome": "succeeded",
                "from_state": origin.value,
                "from_rank": Position.of(origin).rank,
                "acting": 0,
                "to_state": done.state.value,
                "changed": 1,
                **details,
            }
        )
        self._log_move(record, operation_id, "succeed_create", Position.of(origin), done)
        return record

    def reserved_ports(self) -> dict[int, str]:
        """Every reserved port with the name of the environment that holds it."""
        rows = self._rows(
            "SELECT p.port, e.name FROM ports p JOIN environments e ON e.id = p.environment_id"
        )
        return {row["port"]: row["name"] for row in rows}

    # ---- the lease's row

    def take_lease(self, name: str, *, operation_id: str, holder: Mapping[str, Any]) -> int:
        """Write the row of the lease that was just locked; return its fencing token.

        `holder` has actor, host, pid and command.
        """
        with self.transaction():
            rows = self._rows("SELECT token FROM leases WHERE name = ?", name)
            token = rows[0]["token"] + 1 if rows else 1
            self._db.table("leases").upsert(
                {
                    "name": name,
                    "token": token,
                    "operation_id": operation_id,
                    "started_at": utc_now(),
                    **holder,
                },
                pk="name",
            )
        return token

    def lease(self, name: str) -> dict[str, Any]:
        """The last holder's row: token, operation_id, actor, host, pid, command, started_at."""
        rows = self._rows("SELECT * FROM leases WHERE name = ?", name)
        return dict(rows[0]) if rows else {}

    def _check_token(self, name: str, token: int) -> None:
        rows = self._rows("SELECT token FROM leases WHERE name = ?", name)
        if not rows or rows[0]["token"] != token:
            raise OutdatedTokenError(
                f"Another operation has taken {name} over; this one may not write any more"
            )

    # ---- operations and steps

    def start_operation(
        self,
        record: EnvironmentRecord,
        *,
        operation_id: str,
        verb: str,
        token: int,
        parent_id: str | None = None,
        details: Mapping[str, Any],
    ) -> None:
        """Record that an operation starts looking. `details`: actor, host, pid, command, …"""
        with self.transaction():
            self._check_token(record.name, token)
            self._db.table("operations").insert(
                {
                    "id": operation_id,
                    "environment_id": record.id,
                    "parent_id": parent_id,
                    "verb": verb,
                    "token": token,
                    "started_at": utc_now(),
                    "from_state": record.state.value,
                    "from_rank": record.rank,
                    "acting": 0,
                    **details,
                }
            )

    def begin(
        self,
        record: EnvironmentRecord,
        verb: str,
        *,
        operation_id: str,
        token: int,
        config: Mapping[str, Any],
        intent: Mapping[str, Any],
        hosts: Iterable[HostRecord] | None = None,
        serving: int | None = None,
        release: ReleaseRecord | None = None,
        step: tuple[str, str] | None = None,
    ) -> EnvironmentRecord:
        """Write a verb's intent before its first change, in one transaction.

        `hosts` replaces the recorded hosts, `serving` is a release number that may be up from
        now on, `release` is the one about to be made, `step` the (name, title) that acts first.
        Raises `ConflictError` if somebody changed the environment since `record` was read.
        """
        origin = record.position
        acting = machine.begin(origin, verb)
        machine.move(origin.state, f"begin_{verb}", acting.state)
        with self.transaction():
            self._check_token(record.name, token)
            self._write_position(
                record,
                acting,
                config=json.dumps(config),
                intents=json.dumps({**record.intents, verb: intent}),
            )
            self._connection.execute(
                "UPDATE operations SET acting = 1, inputs = ? WHERE id = ?",
                (json.dumps(intent), operation_id),
            )
            if hosts is not None:
                self._write_hosts(record.id, hosts)
            if serving is not None:
                for host in self._hosts(record.id):
                    self._write_serving(record.id, host.name, {*host.serving, serving})
            if release is not None:
                self._db.table("releases").upsert(
                    _release_row(release), pk=("environment_id", "number")
                )
            if step is not None:
                self._insert_step(operation_id, *step)
            self._log_move(record, operation_id, f"begin_{verb}", origin, acting)
        return self._again(record)

    def finish(
        self,
        record: EnvironmentRecord,
        verb: str,
        *,
        operation_id: str,
        token: int,
        trigger: str,
        position: Position,
        outcome: str,
        seconds: float,
        changed: bool = False,
        inputs: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        serving: Mapping[str, Iterable[int]] | None = None,
        host_outcomes: Mapping[str, str] | None = None,
        release: tuple[int, str] | None = None,
        forget_releases: bool = False,
        forget_world: bool = False,
    ) -> EnvironmentRecord:
        """Write an acting verb's end: its final state and its operation's, in one transaction.

        `trigger` is `succeed_…` or `fail_…`; `inputs` are recorded as those of the verb's last
        success; `serving` maps hosts to what may be up there; `release` is (number, status);
        `forget_releases` marks all as cleared; `forget_world` drops hosts and reserved ports.
        """
        with self.transaction():
            self._check_token(record.name, token)
            machine.move(record.state, trigger, position.state)
            kept = {**record.inputs, verb: dict(inputs)} if inputs is not None else record.inputs
            self._write_position(record, position, inputs=json.dumps(kept))
            self._log_move(record, operation_id, trigger, record.position, position)
            self._end_operation(operation_id, outcome, seconds, position.state, changed, error)
            for name, numbers in (serving or {}).items():
                self._write_serving(record.id, name, numbers)
            for name, result in (host_outcomes or {}).items():
                self._connection.execute(
                    "UPDATE hosts SET outcome = ? WHERE environment_id = ? AND name = ?",
                    (f"{verb}: {result}", record.id, name),
                )
            if release is not None:
                self._connection.execute(
                    "UPDATE releases SET status = ? WHERE environment_id = ? AND number = ?",
                    (release[1], record.id, release[0]),
                )
            if forget_releases:
                self._connection.execute(
                    "UPDATE releases SET status = 'cleared' WHERE environment_id = ?", (record.id,)
                )
            if forget_world:
                for table in ("hosts", "ports"):
                    self._connection.execute(
                        f"DELETE FROM {table} WHERE environment_id = ?",  # noqa: S608
                        (record.id,),
                    )
        return self._again(record)

    def end_operation(
        self,
        record: EnvironmentRecord,
        *,
        operation_id: str,
        token: int,
        outcome: str,
        seconds: float,
        changed: bool = False,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        """Record the end of an operation that leaves the state alone."""
        with self.transaction():
            self._check_token(record.name, token)
            state = self._again(record).state
            self._end_operation(operation_id, outcome, seconds, state, changed, error)

    def look(
        self, record: EnvironmentRecord, position: Position, *, operation_id: str, token: int
    ) -> EnvironmentRecord:
        """Record that a look found less than the state claims."""
        with self.transaction():
            self._check_token(record.name, token)
            machine.move(record.state, "look", position.state)
            self._write_position(record, position)
            self._log_move(record, operation_id, "look", record.position, position)
        return self._again(record)

    def start_step(self, name: str, operation_id: str, token: int, step: tuple[str, str]) -> None:
        """Record that a step starts; `name` is the environment's."""
        with self.transaction():
            self._check_token(name, token)
            self._insert_step(operation_id, *step)

    def end_step(
        self,
        name: str,
        operation_id: str,
        token: int,
        *,
        outcome: str,
        attempts: int,
        seconds: float,
        detail: str = "",
        hosts: Mapping[str, str] | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        """Record the end of the operation's step that started last."""
        with self.transaction():
            self._check_token(name, token)
            self._connection.execute(
                "UPDATE steps SET outcome = ?, attempts = ?, seconds = ?, detail = ?, hosts = ?,"
                " error = ? WHERE id = (SELECT MAX(id) FROM steps WHERE operation_id = ?)",
                (
                    outcome,
                    attempts,
                    seconds,
                    detail,
                    json.dumps(hosts) if hosts is not None else None,
                    json.dumps(error) if error is not None else None,
                    operation_id,
                ),
            )

    def operations(self, name: str, *, limit: int = -1) -> list[OperationRecord]:
        """Operations on an environment over all generations, oldest first; children follow.

        `limit` counts root operations and keeps the newest; -1 keeps all.
        """
        roots = self._rows(
            "SELECT o.* FROM operations o JOIN environments e ON e.id = o.environment_id"
            " WHERE e.name = ? AND o.parent_id IS NULL ORDER BY o.rowid DESC LIMIT ?",
            name,
            limit,
        )
        found = []
        for root in reversed(roots):
            found.append(OperationRecord.from_row(root))
            found += self.children(root["id"])
        return found

    def operation(self, operation_id: str) -> OperationRecord | None:
        """One operation, or None."""
        rows = self._rows("SELECT * FROM operations WHERE id = ?", operation_id)
        return OperationRecord.from_row(rows[0]) if rows else None

    def children(self, operation_id: str) -> list[OperationRecord]:
        """The verbs that a porcelain operation ran, in order."""
        rows = self._rows(
            "SELECT * FROM operations WHERE parent_id = ? ORDER BY rowid", operation_id
        )
        return [OperationRecord.from_row(row) for row in rows]

    def steps(self, operation_id: str) -> list[StepRecord]:
        """The steps of one verb's execution, in order."""
        rows = self._rows(
            "SELECT * FROM steps WHERE operation_id = ? ORDER BY position", operation_id
        )
        return [StepRecord.from_row(row) for row in rows]

    def open_operations(self, environment_id: int) -> list[OperationRecord]:
        """Operations without an end, newest first: running, or left by a process that died."""
        rows = self._rows(
            "SELECT * FROM operations WHERE environment_id = ? AND outcome IS NULL"
            " ORDER BY rowid DESC",
            environment_id,
        )
        return [OperationRecord.from_row(row) for row in rows]

    def settle(
        self,
        record: EnvironmentRecord,
        *,
        token: int,
        operation_id: str,
        error: Mapping[str, Any],
    ) -> EnvironmentRecord:
        """Close what a dead operation left open; an acting verb has failed.

        `operation_id` is the operation that settles, `error` is recorded with those it closes.
        """
        with self.transaction():
            self._check_token(record.name, token)
            position = record.position
            for operation in self.open_operations(record.id):
                if operation.id == operation_id:
                    continue
                if operation.acting and record.state in machine.ACTING:
                    verb = machine.ACTING[record.state].name
                    position = machine.fail(operation.origin, verb)
                    machine.move(record.state, f"fail_{verb}", position.state)
                self._connection.execute(
                    "UPDATE steps SET outcome = 'interrupted'"
                    " WHERE operation_id = ? AND outcome = 'started'",
                    (operation.id,),
                )
                self._end_operation(operation.id, "interrupted", None, position.state, False, error)
            if position != record.position:
                self._write_position(record, position)
                self._log_move(record, operation_id, "settle", record.position, position)
        return self._again(record)

    def checkpoint(self, environment_id: int, verb: str) -> dict[str, str]:
        """Steps that the verb's last execution completed before it failed, with their detail.

        Empty after a success: a checkpoint shows and saves looking twice, it never decides.
        """
        rows = self._rows(
            "SELECT id, outcome FROM operations WHERE environment_id = ? AND verb = ? AND acting"
            " AND outcome IS NOT NULL ORDER BY rowid DESC LIMIT 1",
            environment_id,
            verb,
        )
        if not rows or rows[0]["outcome"] == "succeeded":
            return {}
        steps = self.steps(rows[0]["id"])
        return {s.name: s.detail or "" for s in steps if s.outcome in ("done", "skipped")}

    def transitions(self, environment_id: int) -> list[TransitionRecord]:
        """Every change of state of one generation, oldest first."""
        rows = self._rows(
            "SELECT * FROM transitions WHERE environment_id = ? ORDER BY id", environment_id
        )
        return [TransitionRecord.from_row(row) for row in rows]

    # ---- releases

    def releases(self, environment_id: int) -> list[ReleaseRecord]:
        """The environment's releases, newest first."""
        rows = self._rows(
            "SELECT * FROM releases WHERE environment_id = ? ORDER BY number DESC", environment_id
        )
        return [ReleaseRecord.from_row(row) for row in rows]

    def release(self, environment_id: int, number: int) -> ReleaseRecord | None:
        """One release, or None."""
        rows = self._rows(
            "SELECT * FROM releases WHERE environment_id = ? AND number = ?", environment_id, number
        )
        return ReleaseRecord.from_row(rows[0]) if rows else None

    # ---- inside a transaction

    def _again(self, record: EnvironmentRecord) -> EnvironmentRecord:
        rows = self._rows("SELECT * FROM environments WHERE id = ?", record.id)
        return _environment(rows[0], self._hosts(record.id))

    def _hosts(self, environment_id: int) -> list[HostRecord]:
        rows = self._rows(
            "SELECT * FROM hosts WHERE environment_id = ? ORDER BY name", environment_id
        )
        return [HostRecord.from_row(row) for row in rows]

    def _write_position(
        self, record: EnvironmentRecord, position: Position, **columns: str
    ) -> None:
        values: dict[str, Any] = {
            "state": position.state.value,
            "rank": position.rank,
            "version": record.version + 1,
            "updated_at": utc_now(),
            **columns,
        }
        assignments = ", ".join(f"{column} = :{column}" for column in values)
        found = self._connection.execute(
            f"UPDATE environments SET {assignments} WHERE id = :id AND version = :expected",  # noqa: S608
            {**values, "id": record.id, "expected": record.version},
        )
        if found.rowcount != 1:
            raise ConflictError(f"{record.name} was changed by somebody else meanwhile")

    def _write_hosts(self, environment_id: int, hosts: Iterable[HostRecord]) -> None:
        known = {host.name: host for host in self._hosts(environment_id)}
        self._connection.execute("DELETE FROM hosts WHERE environment_id = ?", (environment_id,))
        for host in hosts:
            self._db.table("hosts").insert(
                {
                    "environment_id": environment_id,
                    "name": host.name,
                    "connection": host.connection,
                    "address": host.address,
                    "port": host.port,
                    "user": host.user,
                    "groups": json.dumps(host.groups),
                    "root": host.root,
                    "serving": json.dumps(known[host.name].serving if host.name in known else []),
                    "outcome": host.outcome,
                }
            )

    def _write_serving(self, environment_id: int, host: str, numbers: Iterable[int]) -> None:
        self._connection.execute(
            "UPDATE hosts SET serving = ? WHERE environment_id = ? AND name = ?",
            (json.dumps(sorted(numbers)), environment_id, host),
        )

    def _insert_step(self, operation_id: str, name: str, title: str) -> None:
        self._connection.execute(
            "INSERT INTO steps (operation_id, position, name, title, attempts, started_at, outcome)"
            " VALUES (:op, (SELECT COUNT(*) + 1 FROM steps WHERE operation_id = :op), :name,"
            " :title, 1, :at, 'started')",
            {"op": operation_id, "name": name, "title": title, "at": utc_now()},
        )

    def _end_operation(
        self,
        operation_id: str,
        outcome: str,
        seconds: float | None,
        state: State,
        changed: bool,
        error: Mapping[str, Any] | None,
    ) -> None:
        self._connection.execute(
            "UPDATE operations SET finished_at = ?, seconds = ?, outcome = ?, to_state = ?,"
            " changed = ?, error = ? WHERE id = ?",
            (
                utc_now(),
                seconds,
                outcome,
                state.value,
                int(changed),
                json.dumps(error) if error is not None else None,
                operation_id,
            ),
        )

    def _log_move(
        self,
        record: EnvironmentRecord,
        operation_id: str | None,
        trigger: str,
        source: Position,
        dest: Position,
    ) -> None:
        self._connection.execute(
            "INSERT INTO transitions (environment_id, operation_id, trigger, from_state, from_rank,"
            " to_state, to_rank, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.id,
                operation_id,
                trigger,
                source.state.value,
                source.rank,
                dest.state.value,
                dest.rank,
                utc_now(),
            ),
        )


def _environment(row: sqlite3.Row, hosts: list[HostRecord]) -> EnvironmentRecord:
    return replace(EnvironmentRecord.from_row(row), hosts=hosts)


def _release_row(release: ReleaseRecord) -> dict[str, Any]:
    return {**asdict(release), "manifest": json.dumps(release.manifest)}


def _connect(path: Path, uri: str) -> sqlite3.Connection:
    try:
        # isolation_level None: transactions begin where this module says so, and only there
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)
    except sqlite3.Error as problem:
        raise StoreError(f"The store {path} can't be opened: {problem}", _remedy(path)) from problem
    connection.row_factory = sqlite3.Row
    return connection


def _quote(path: Path) -> str:
    return quote(str(path.absolute()))


def _refuse_emptied(path: Path) -> None:
    """Raise `StoreError` for a file cut to nothing: SQLite would take it for a new store.

    A process that died while it made the very first store leaves an empty file too, but neither
    a backup, nor an environment's folder, nor a log (which SQLite would remove).
    """
    if not path.exists() or path.stat().st_size:
        return
    beside = ("backups/*.db", "environments/*", f"{path.name}-wal")
    if any(any(path.parent.glob(pattern)) for pattern in beside):
        raise StoreError(f"The store {path} is damaged: it is empty", _backup_hint(path))


def _backup_hint(path: Path) -> str:
    saved = sorted((path.parent / "backups").glob("*.db"), key=_modified)
    return f"The newest backup is {saved[-1]}." if saved else "There is no backup beside it."


def _modified(path: Path) -> float:
    return path.stat().st_mtime


def _remedy(path: Path) -> str:
    for place in (path, path.parent, path.parent.parent):
        try:
            owner = place.stat().st_uid
        except OSError:
            continue
        if owner != os.geteuid() and os.geteuid() != 0:
            return (
                f"{place} belongs to user {owner}, perhaps because of a run under sudo; "
                f"give it back with: sudo chown -R {os.geteuid()} {place}"
            )
        break
    return "Check that the disk is not full and that the folder can be written."
