"""Copies of the store: made while it is in use, proved whole, and put back."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from state import migrations
from state.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Copy:
    """A proved copy: where it is, its schema's version, and the rows of each table."""

    path: Path
    schema: int
    rows: dict[str, int]


def folder(store: Path) -> Path:
    """Where backups go unless another place is named."""
    return store.parent / "backups"


def name(prefix: str) -> str:
    """A backup's file name: sorts by time."""
    return f"{prefix}-{datetime.now(UTC).strftime('%Y%m%dT%H%M%S%f')}.db"


def backup(store: Path, target: Path) -> Copy:
    """Copy the store to `target`, a new file, 0600. Operations may go on meanwhile.

    Raises `StoreError` if either is unusable, or the copy is not whole.
    """
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise StoreError(f"{target} exists already", "Name another file.") from None
    except OSError as problem:
        raise StoreError(f"{target} can't be written: {problem.strerror}") from problem
    try:
        with closing(_open(store, "mode=ro")) as source:
            # one snapshot for the copy and the count
            source.execute("BEGIN")
            rows = _rows(source)
            with closing(sqlite3.connect(target)) as copy:
                source.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")
        found = inspect(target)
        if found.rows != rows:
            raise StoreError(f"The copy {target} is not whole: {found.rows} instead of {rows}")
    except sqlite3.Error as problem:
        target.unlink()
        raise StoreError(f"The store {store} can't be copied: {problem}") from problem
    except StoreError:
        target.unlink()
        raise
    return found


def inspect(path: Path) -> Copy:
    """Prove a copy whole. Raises `StoreError` if it is damaged, or no store."""
    try:
        with closing(_open(path, "immutable=1")) as copy:
            state = copy.execute("PRAGMA integrity_check").fetchone()[0]
            if state != "ok":
                raise StoreError(f"{path} is damaged: {state}")
            migrations.check_version(copy, path)
            schema = migrations.version(copy)
            rows = _rows(copy)
    except sqlite3.Error as problem:
        raise StoreError(f"{path} is no backup of a store: {problem}") from problem
    if schema == 0 or "environments" not in rows:
        raise StoreError(f"{path} is no backup of a store")
    return Copy(path, schema, rows)


def restore(store: Path, source: Path) -> tuple[Copy, Path | None]:
    """Put a copy in the place of the store, while no operation runs.

    The present store is kept beside the backups, as it is. Returns the copy and where the
    present store went. Raises `StoreError` if an operation runs or the copy is not whole.
    """
    found = inspect(source)
    new = store.with_name(f"{store.name}.new")
    kept = None
    with ExitStack() as held:
        migrations.hold_all_leases(store, held, wait=0.0)
        try:
            new.write_bytes(source.read_bytes())
            new.chmod(0o600)
            if store.exists():
                kept = folder(store) / name("replaced")
                kept.parent.mkdir(mode=0o700, exist_ok=True)
                for suffix in ("-wal", "-shm", ""):
                    part = store.with_name(store.name + suffix)
                    if part.exists():
                        part.replace(kept.with_name(kept.name + suffix))
            new.replace(store)
        except OSError as problem:
            new.unlink(missing_ok=True)
            raise StoreError(f"{store} can't be replaced: {problem.strerror}") from problem
    return found, kept


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{mode}", uri=True, isolation_level=None
    )


def _rows(connection: sqlite3.Connection) -> dict[str, int]:
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    return {
        table: connection.execute(f'SELECT COUNT(*) FROM "{table}"').fetchone()[0]  # noqa: S608
        for (table,) in sorted(names)
    }
