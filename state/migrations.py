"""The schema of the store, as numbered migrations; the number is SQLite's `user_version`."""

from __future__ import annotations

import fcntl
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from state.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sqlite_utils import Database

    Migration = Callable[[Database], None]

LEASE_WAIT = 60.0  # seconds that a migration waits for running operations


def _first(db: Database) -> None:
    db.table("environments").create(
        {
            "id": int,
            "name": str,
            "generation": int,
            "uuid": str,
            "state": str,
            "rank": int,
            "version": int,
            "config": str,
            "intents": str,
            "inputs": str,
            "created_at": str,
            "updated_at": str,
        },
        pk="id",
        not_null={"name", "generation", "uuid", "state", "rank", "version"},
        strict=True,
    )
    db.table("environments").create_index(["name", "generation"], unique=True)
    db.table("operations").create(
        {
            "id": str,
            "environment_id": int,
            "parent_id": str,
            "verb": str,
            "command": str,
            "token": int,
            "actor": str,
            "host": str,
            "pid": int,
            "correlation_id": str,
            "started_at": str,
            "finished_at": str,
            "seconds": float,
            "outcome": str,
            "from_state": str,
            "from_rank": int,
            "acting": int,
            "to_state": str,
            "changed": int,
            "inputs": str,
            "error": str,
        },
        pk="id",
        not_null={"environment_id", "verb", "token", "started_at"},
        foreign_keys=[("environment_id", "environments", "id")],
        strict=True,
    )
    db.table("operations").create_index(["environment_id", "started_at"])
    db.table("operations").create_index(["parent_id"])
    db.table("steps").create(
        {
            "id": int,
            "operation_id": str,
            "position": int,
            "name": str,
            "title": str,
            "attempts": int,
            "started_at": str,
            "seconds": float,
            "outcome": str,
            "detail": str,
            "hosts": str,
            "error": str,
        },
        pk="id",
        not_null={"operation_id", "name", "outcome"},
        foreign_keys=[("operation_id", "operations", "id")],
        strict=True,
    )
    db.table("steps").create_index(["operation_id", "position"])
    db.table("transitions").create(
        {
            "id": int,
            "environment_id": int,
            "operation_id": str,
            "trigger": str,
            "from_state": str,
            "from_rank": int,
            "to_state": str,
            "to_rank": int,
            "at": str,
        },
        pk="id",
        not_null={"environment_id", "trigger", "from_state", "to_state", "at"},
        foreign_keys=[("environment_id", "environments", "id")],
        strict=True,
    )
    db.table("transitions").create_index(["environment_id"])
    db.table("undos").create(
        {
            "id": int,
            "operation_id": str,
            "kind": str,
            "arguments": str,
            "outcome": str,
        },
        pk="id",
        not_null={"operation_id", "kind", "arguments"},
        foreign_keys=[("operation_id", "operations", "id")],
        strict=True,
    )
    db.table("undos").create_index(["operation_id"])
    db.table("releases").create(
        {
            "environment_id": int,
            "number": int,
            "operation_id": str,
            "identity": str,
            "status": str,
            "app": str,
            "app_version": str,
            "created_at": str,
            "manifest": str,
        },
        pk=("environment_id", "number"),
        not_null={"identity", "status", "created_at"},
        foreign_keys=[("environment_id", "environments", "id")],
        strict=True,
    )
    db.table("hosts").create(
        {
            "environment_id": int,
            "name": str,
            "connection": str,
            "address": str,
            "port": int,
            "user": str,
            "groups": str,
            "root": str,
            "serving": str,
            "outcome": str,
        },
        pk=("environment_id", "name"),
        not_null={"connection", "address", "root", "serving"},
        foreign_keys=[("environment_id", "environments", "id")],
        strict=True,
    )
    db.table("ports").create(
        {"port": int, "environment_id": int, "setting": str},
        pk="port",
        not_null={"environment_id", "setting"},
        foreign_keys=[("environment_id", "environments", "id")],
        strict=True,
    )
    db.table("leases").create(
        {
            "name": str,
            "token": int,
            "operation_id": str,
            "actor": str,
            "host": str,
            "pid": int,
            "command": str,
            "started_at": str,
        },
        pk="name",
        not_null={"token"},
        strict=True,
    )


def _second(db: Database) -> None:
    """Hosts that are reached over the network: which machine it is, and how to get in.

    Releases: when one was last healthy.
    """
    db.execute("ALTER TABLE hosts ADD COLUMN instance TEXT")
    db.execute("ALTER TABLE hosts ADD COLUMN access TEXT")
    db.execute("ALTER TABLE releases ADD COLUMN healthy_at TEXT")


MIGRATIONS: Sequence[Migration] = (_first, _second)


def version(connection: sqlite3.Connection) -> int:
    """The schema version of an open store; 0 if it is empty."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    migrations: Sequence[Migration] = MIGRATIONS,
) -> Path | None:
    """Bring the store at `path` to the newest schema; a backup is made first.

    Waits until no lease is held, so that no operation sees the schema change under it. Returns
    the backup's path, or None where there was nothing to migrate or nothing to lose.
    """
    check_version(connection, path, migrations)
    if version(connection) == len(migrations):
        return None
    from sqlite_utils import Database

    with ExitStack() as held:
        if version(connection):
            hold_all_leases(path, held)
        connection.execute("BEGIN IMMEDIATE")
        try:
            # somebody else may have migrated while this process waited for the lock
            present = version(connection)
            saved = _saved(path, present) if 0 < present < len(migrations) else None
            db = Database(connection, execute_plugins=False)
            for migration in migrations[present:]:
                migration(db)
            connection.execute(f"PRAGMA user_version = {len(migrations)}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return saved


def _saved(path: Path, present: int) -> Path:
    from state import backup

    return backup.backup(path, backup.folder(path) / backup.name(f"schema{present}")).path


def check_version(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Refuse a store that a newer version has written."""
    present = version(connection)
    if present > len(migrations):
        raise StoreError(
            f"{path} was written by a newer version of deployer "
            f"(schema {present}, this one knows {len(migrations)})",
            "Update deployer, or restore a backup made by this version.",
        )


def hold_all_leases(path: Path, held: ExitStack, wait: float = LEASE_WAIT) -> None:
    """Lock every environment of the store at `path` until `held` is closed.

    Raises `StoreError` if an operation doesn't end within `wait` seconds.
    """
    deadline = time.monotonic() + wait
    for lock in sorted(path.parent.glob("environments/*/lock")):
        file = held.enter_context(lock.open("rb"))
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise StoreError(
                        f"An operation on {lock.parent.name} is running, and the store may not "
                        "be exchanged under it",
                        "Run the command again when that operation is done.",
                    ) from None
                time.sleep(0.1)
