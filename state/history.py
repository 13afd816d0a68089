"""The history: who holds the lease, operations and their steps, undos, changes of state."""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from state.database import Database
from state.errors import OutdatedTokenError
from state.records import OperationRecord, StepRecord, TransitionRecord, UndoRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from state.machine import Position, State
    from state.records import EnvironmentRecord


def utc_now() -> str:
    """This moment in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def new_operation_id() -> str:
    """A new operation's id: sorts by time in milliseconds, unique across processes."""
    moment = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"[:-3]
    return f"{moment}-{secrets.token_hex(4)}"


class History(Database):
    """What was done. Every write of an operation checks its fencing token."""

    # ---- the lease's row

    def take_lease(self, name: str, *, operation_id: str, holder: Mapping[str, Any]) -> int:
        """Write the row of the lease that was just locked; return its fencing token.

        `holder` has actor, host, pid and command. Tokens only grow, whatever the clock does; they
        follow it, so that a store put back from a copy goes on above those given since.
        """
        with self.transaction():
            rows = self._rows("SELECT token FROM leases WHERE name = ?", name)
            token = max(int(time.time()), rows[0]["token"] + 1 if rows else 1)
            self._write(
                "REPLACE",
                "leases",
                {
                    "name": name,
                    "token": token,
                    "operation_id": operation_id,
                    "started_at": utc_now(),
                    **holder,
                },
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
        with self.transaction(durable=False):
            self._check_token(record.name, token)
            self._write(
                "INSERT",
                "operations",
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
                },
            )

    def start_step(self, name: str, operation_id: str, token: int, step: tuple[str, str]) -> None:
        """Record that a step starts; `name` is the environment's."""
        with self.transaction(durable=False):
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
        with self.transaction(durable=False):
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

    def register_undo(
        self, name: str, operation_id: str, token: int, kind: str, arguments: Mapping[str, Any]
    ) -> None:
        """Record how to undo what an operation is about to make."""
        with self.transaction():
            self._check_token(name, token)
            self._write(
                "INSERT",
                "undos",
                {
                    "operation_id": operation_id,
                    "kind": kind,
                    "arguments": json.dumps(arguments),
                },
            )

    def undos(self, operation_id: str) -> list[UndoRecord]:
        """What an operation registered and nobody has undone, newest first."""
        rows = self._rows(
            "SELECT * FROM undos WHERE operation_id = ? AND outcome IS NULL ORDER BY id DESC",
            operation_id,
        )
        return [UndoRecord.from_row(row) for row in rows]

    def close_undo(self, name: str, token: int, undo_id: int, outcome: str) -> None:
        """Record that something was undone, or could not be."""
        with self.transaction():
            self._check_token(name, token)
            self._connection.execute(
                "UPDATE undos SET outcome = ? WHERE id = ?", (outcome, undo_id)
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

    def last_seconds(self, environment_id: int, verb: str) -> float | None:
        """How long a verb took when it last changed something; None if it never did."""
        rows = self._rows(
            "SELECT seconds FROM operations WHERE environment_id = ? AND verb = ? AND changed"
            " AND outcome = 'succeeded' ORDER BY rowid DESC LIMIT 1",
            environment_id,
            verb,
        )
        return float(rows[0]["seconds"]) if rows else None

    def open_operations(self, environment_id: int) -> list[OperationRecord]:
        """Operations without an end, newest first: running, or left by a process that died."""
        rows = self._rows(
            "SELECT * FROM operations WHERE environment_id = ? AND outcome IS NULL"
            " ORDER BY rowid DESC",
            environment_id,
        )
        return [OperationRecord.from_row(row) for row in rows]

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

    def prune(self, name: str, token: int, keep: int) -> list[str]:
        """Remove all but the newest `keep` root operations; return the ids of those removed."""
        rows = self._rows(
            "SELECT o.id FROM operations o JOIN environments e ON e.id = o.environment_id"
            " WHERE e.name = ? AND o.parent_id IS NULL AND o.outcome IS NOT NULL"
            " ORDER BY o.rowid DESC LIMIT -1 OFFSET ?",
            name,
            keep,
        )
        roots = [row["id"] for row in rows]
        if roots:
            with self.transaction():
                self._check_token(name, token)
                for root in roots:
                    self._forget_operations([root, *(child.id for child in self.children(root))])
        return roots

    # ---- inside a transaction

    def _forget_operations(self, ids: list[str]) -> None:
        for operation_id in reversed(ids):
            for table, column in (("steps", "operation_id"), ("undos", "operation_id")):
                self._connection.execute(
                    f"DELETE FROM {table} WHERE {column} = ?",  # noqa: S608
                    (operation_id,),
                )
            self._connection.execute("DELETE FROM operations WHERE id = ?", (operation_id,))

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

    def _write(self, how: str, table: str, values: Mapping[str, Any]) -> None:
        """One row of what operations write.

        Not through sqlite_utils, whose import would be a quarter of a short operation's time.
        """
        marks = ", ".join("?" * len(values))
        self._connection.execute(
            f"{how} INTO {table} ({', '.join(values)}) VALUES ({marks})",
            tuple(values.values()),
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
