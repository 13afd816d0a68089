"""The store: environments, their hosts, releases and ports, and what the verbs write of them.

Nothing above this package knows SQL. Every change of state compares the version that was read,
in one `BEGIN IMMEDIATE`.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from state import machine
from state.errors import ConflictError
from state.history import History, utc_now
from state.machine import NOTHING, Position, State
from state.records import EnvironmentRecord, HostRecord, ReleaseRecord

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping


class Store(History):
    """All that is remembered of the environments of a workspace."""

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

    # ---- what verbs write

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
                self._write("REPLACE", "releases", _release_row(release))
            if step is not None:
                self._insert_step(operation_id, *step)
            self._log_move(record, operation_id, f"begin_{verb}", origin, acting)
        return self._again(record)

    def set_hosts(
        self, record: EnvironmentRecord, hosts: Iterable[HostRecord], *, token: int
    ) -> EnvironmentRecord:
        """Replace the recorded hosts, while a verb acts that has just learnt what they are."""
        with self.transaction():
            self._check_token(record.name, token)
            self._write_hosts(record.id, hosts)
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
        keep: Iterable[int] | None = None,
        healthy: int | None = None,
        forget_releases: bool = False,
        forget_world: bool = False,
    ) -> EnvironmentRecord:
        """Write an acting verb's end: its final state and its operation's, in one transaction.

        `trigger` is `succeed_…` or `fail_…`; `inputs` are recorded as those of the verb's last
        success; `serving` maps hosts to what may be up there; `release` is (number, status);
        all releases but those to `keep` are marked as pruned; `healthy` is one whose services are;
        `forget_releases` marks all as cleared; `forget_world` drops hosts and reserved ports.
        """
        with self.transaction():
            self._check_token(record.name, token)
            machine.move(record.state, trigger, position.state)
            kept = {**record.inputs, verb: dict(inputs)} if inputs is not None else record.inputs
            if forget_releases:
                kept = {key: value for key, value in kept.items() if key != "release"}
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
            if keep is not None:
                marks = ", ".join(str(int(number)) for number in keep)
                self._connection.execute(
                    "UPDATE releases SET status = 'pruned' WHERE environment_id = ?"  # noqa: S608
                    f" AND status <> 'cleared' AND number NOT IN ({marks})",
                    (record.id,),
                )
            if healthy is not None:
                self._connection.execute(
                    "UPDATE releases SET healthy_at = ? WHERE environment_id = ? AND number = ?",
                    (utc_now(), record.id, healthy),
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
            self._connection.execute(
                "UPDATE releases SET status = 'failed'"
                " WHERE environment_id = ? AND status = 'releasing'",
                (record.id,),
            )
            if position != record.position:
                self._write_position(record, position)
                self._log_move(record, operation_id, "settle", record.position, position)
        return self._again(record)

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

    def purge(self, name: str, token: int) -> None:
        """Remove every record of an environment, all generations."""
        with self.transaction():
            self._check_token(name, token)
            for record in self.generations(name):
                rows = self._rows("SELECT id FROM operations WHERE environment_id = ?", record.id)
                self._forget_operations([row["id"] for row in rows])
                for table in ("transitions", "releases", "hosts", "ports"):
                    self._connection.execute(
                        f"DELETE FROM {table} WHERE environment_id = ?",  # noqa: S608
                        (record.id,),
                    )
            self._connection.execute("DELETE FROM environments WHERE name = ?", (name,))
            self._connection.execute("DELETE FROM leases WHERE name = ?", (name,))

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
            self._write(
                "INSERT",
                "hosts",
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
                    "instance": host.instance,
                    "access": json.dumps(host.access) if host.access else None,
                },
            )

    def _write_serving(self, environment_id: int, host: str, numbers: Iterable[int]) -> None:
        self._connection.execute(
            "UPDATE hosts SET serving = ? WHERE environment_id = ? AND name = ?",
            (json.dumps(sorted(numbers)), environment_id, host),
        )


def _environment(row: sqlite3.Row, hosts: list[HostRecord]) -> EnvironmentRecord:
    return replace(EnvironmentRecord.from_row(row), hosts=hosts)


def _release_row(release: ReleaseRecord) -> dict[str, Any]:
    return {**asdict(release), "manifest": json.dumps(release.manifest)}
