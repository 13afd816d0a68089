"""The open database: its file, its transactions, and what is said of one that can't be used."""

from __future__ import annotations

import os
import shlex
import sqlite3
import time
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, Self
from urllib.parse import quote

from state import migrations
from state.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlite_utils import Database as SqliteUtils

BUSY_TIMEOUT = 30.0  # seconds that a writer waits for another one
CHECKPOINT_LOOKS = 10  # before a store is called cut short


class Database:
    """An open SQLite file. A connection belongs to the thread that opened it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the store for writing; create it, or migrate it, where that is due.

        Raises `StoreError` where it is unusable, naming the newest backup where one exists.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            ignore = path.parent / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", encoding="utf-8")
                ignore.chmod(0o644)
            _refuse_lost(path)
            if not path.exists():
                # 0600 whatever the umask, before anything is in it
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
                path.chmod(0o600)
            connection = _connect(path, f"file:{_quote(path)}")
            store = cls(connection, path)
            with store.usable():
                _use_wal(connection)
                connection.execute("PRAGMA foreign_keys = ON")
                migrations.migrate(connection, path)
        except OSError as problem:
            raise StoreError(
                f"The store {path} can't be written: {problem.strerror or problem}", _remedy(path)
            ) from problem
        return store

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Open the store for reading only; None where there is none yet. Creates nothing."""
        _refuse_lost(path)
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
            raise _damaged(self.path, str(problem)) from problem
        raise StoreError(
            f"The store {self.path} can't be used: {problem}", _remedy(self.path)
        ) from problem

    @cached_property
    def _db(self) -> SqliteUtils:
        from sqlite_utils import Database

        return Database(self._connection, execute_plugins=False)

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """One atomic change; nothing of it stays where the block raises.

        Not `durable`, it survives the end of this process, but perhaps not a loss of power. Inside
        another transaction it is part of that one.
        """
        if self._connection.in_transaction:
            yield
            return
        with self.usable():
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
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


def _connect(path: Path, uri: str) -> sqlite3.Connection:
    try:
        # isolation_level None: transactions begin where this module says so, and only there
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)
    except sqlite3.Error as problem:
        raise StoreError(f"The store {path} can't be opened: {problem}", _remedy(path)) from problem
    connection.row_factory = sqlite3.Row
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log, once for each store.

    SQLite doesn't wait for others there, as it does for any other lock: of several first starts
    some would fail.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _refuse_lost(path: Path) -> None:
    """Raise `StoreError` where a store was, and is gone, emptied or cut short.

    SQLite takes the first two for a new store, and the last for a whole one at first.
    """
    size = path.stat().st_size if path.exists() else 0
    if size == 0:
        # who died while making the very first store left no more than an empty file
        if any(any(path.parent.glob(pattern)) for pattern in ("backups/*.db", "environments/*")):
            raise _damaged(path, "it is empty" if path.exists() else "it is gone")
        return
    for _ in range(CHECKPOINT_LOOKS):
        if _is_whole(path):
            return
        time.sleep(0.05)  # another process may be moving its log into the file just now
    raise _damaged(path, "it is cut short")


def _is_whole(path: Path) -> bool:
    with path.open("rb") as file:
        header = file.read(100)
    # SQLite's "Database File Format": page size at 16, size in pages at 28, big-endian
    page, pages = int.from_bytes(header[16:18]), int.from_bytes(header[28:32])
    return len(header) == 100 and path.stat().st_size >= pages * (65536 if page == 1 else page)


def _damaged(path: Path, problem: str) -> StoreError:
    saved = sorted((path.parent / "backups").glob("*.db"), key=_modified)
    hint = f"There is no backup beside it. To begin anew, move {path.parent} away."
    if saved:
        hint = f"Put the newest backup back: deployer restore {shlex.quote(str(saved[-1]))}"
    return StoreError(f"The store {path} is damaged: {problem}", hint)


def _quote(path: Path) -> str:
    return quote(str(path.absolute()))


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
