"""Schema changes: backed up, one at a time, never under a running operation."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from state import backup, lease, migrations
from state.errors import StoreError
from state.store import Store
from tests.state.store_helpers import created, python

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlite_utils import Database


def _second(db: Database) -> None:
    db.execute("ALTER TABLE environments ADD COLUMN colour TEXT DEFAULT 'red'")


def _broken(db: Database) -> None:
    _second(db)
    raise RuntimeError("it breaks off half-way")


NOW = len(migrations.MIGRATIONS)
TWO = (*migrations.MIGRATIONS, _second)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    with closing(Store.open(path)) as store:
        created(store)
    return path


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def test_a_store_is_backed_up_before_its_schema_changes(
    path: Path, connection: sqlite3.Connection
) -> None:
    saved = migrations.migrate(connection, path, TWO)

    assert migrations.version(connection) == NOW + 1
    assert connection.execute("SELECT name, colour FROM environments").fetchall() == [
        ("shop", "red")
    ]
    assert saved and saved.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(saved)) as copy:
        assert migrations.version(copy) == NOW
        assert copy.execute("SELECT name FROM environments").fetchall() == [("shop",)]


def test_a_migration_that_breaks_off_leaves_the_store_as_it_was(
    path: Path, connection: sqlite3.Connection
) -> None:
    with pytest.raises(RuntimeError):
        migrations.migrate(connection, path, (*migrations.MIGRATIONS, _broken))

    assert migrations.version(connection) == NOW
    columns = [row[1] for row in connection.execute("PRAGMA table_info(environments)")]
    assert "colour" not in columns


def test_a_store_of_the_newest_schema_is_left_alone(
    path: Path, connection: sqlite3.Connection
) -> None:
    assert migrations.migrate(connection, path) is None
    assert not backup.folder(path).exists()


def test_a_store_written_by_a_newer_version_is_refused_untouched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")

    for opened in (Store.open, Store.read):
        with pytest.raises(StoreError, match="newer version"):
            opened(path)

    with closing(sqlite3.connect(path)) as connection:
        assert migrations.version(connection) == 99


def test_first_starts_of_several_processes_make_one_store(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    code = """
import sys
from pathlib import Path
from state.store import Store
print("ready", flush=True)
sys.stdin.readline()
Store.open(Path(sys.argv[1])).close()
"""
    starters = [python(code, path) for _ in range(6)]
    for starter in starters:
        assert starter.stdout and starter.stdout.readline() == "ready\n"
    for starter in starters:
        assert starter.stdin
        starter.stdin.write("\n")
        starter.stdin.flush()
    errors = [starter.communicate(timeout=60)[1] for starter in starters]

    assert [starter.returncode for starter in starters] == [0] * 6, errors
    with closing(Store.open(path)) as store:
        assert store.environments() == []


def test_migrations_racing_in_several_processes_run_once(path: Path) -> None:
    code = """
import sqlite3, sys
from pathlib import Path
from state import migrations
from tests.state.test_migrations import TWO
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
print("ready", flush=True)
sys.stdin.readline()
print(migrations.migrate(connection, Path(sys.argv[1]), TWO) is not None)
"""
    racers = [python(code, path) for _ in range(4)]
    for racer in racers:
        assert racer.stdout and racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("\n")
        racer.stdin.flush()
    said = [racer.communicate(timeout=60) for racer in racers]

    assert sorted(out.strip() for out, _ in said) == ["False", "False", "False", "True"], said
    assert len(list(backup.folder(path).iterdir())) == 1


def test_a_migration_waits_until_no_lease_is_held(
    path: Path, connection: sqlite3.Connection
) -> None:
    held = lease.acquire(path.parent / "environments" / "shop" / "lock", holder=dict)
    seen: list[int] = []

    def free() -> None:
        with closing(sqlite3.connect(path)) as other:
            seen.append(migrations.version(other))
        held.release()

    timer = threading.Timer(0.5, free)
    timer.start()
    migrations.migrate(connection, path, TWO)
    timer.join()

    assert seen == [NOW], "it did not wait"
    assert migrations.version(connection) == NOW + 1


def test_a_migration_gives_up_on_a_lease_that_stays_held(
    path: Path, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = lease.acquire(path.parent / "environments" / "shop" / "lock", holder=dict)
    hold = migrations.hold_all_leases
    monkeypatch.setattr(migrations, "hold_all_leases", lambda p, h: hold(p, h, wait=0.2))

    with pytest.raises(StoreError, match="shop is running"):
        migrations.migrate(connection, path, TWO)

    held.release()
    assert migrations.version(connection) == NOW
