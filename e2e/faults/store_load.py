"""Many processes move states on one store: none is lost, and how fast it is beside bare SQLite.

Every commit is durable (`synchronous = FULL`). The bare rate is that of one-row transactions in
a WAL database with the same pragmas on the same disk, by one process and by as many as above.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from state.machine import Position, State, fail
from state.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable


def _name(index: int) -> str:
    return f"load-{index}"


def _prepare(path: Path, processes: int) -> None:
    store = Store.open(path)
    for index in range(processes):
        holder: dict[str, Any] = {"actor": "load", "host": "here", "pid": 1, "command": ""}
        token = store.take_lease(_name(index), operation_id=f"create-{index}", holder=holder)
        with store.transaction():
            store.create_environment(
                _name(index),
                token=token,
                config={"app": "probe"},
                ports={},
                operation_id=f"create-{index}",
                details={"actor": "load"},
            )
    store.close()


def _move(path: Path, index: int, count: int) -> None:
    store = Store.open(path)
    record = store.environment(_name(index))
    assert record is not None
    operation, token = f"load-{index}", store.lease(_name(index))["token"]
    store.start_operation(record, operation_id=operation, verb="provision", token=token, details={})
    for step in range(count):
        if step % 2 == 0:
            origin = record.position
            record = store.begin(
                record, "provision", operation_id=operation, token=token, config={}, intent={}
            )
        else:
            record = store.finish(
                record,
                "provision",
                operation_id=operation,
                token=token,
                trigger="fail_provision",
                position=fail(origin, "provision"),
                outcome="failed",
                seconds=0.0,
            )
    store.close()


def _commit(path: Path, index: int, count: int) -> None:
    with sqlite3.connect(path, timeout=60, isolation_level=None) as db:
        db.execute("PRAGMA synchronous = FULL")
        for step in range(count):
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO bare VALUES (?, ?)", (index, step))
            db.execute("COMMIT")


def _bare(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE bare (process INTEGER, step INTEGER)")


def _rate(work: Callable[[Path, int, int], None], path: Path, processes: int, count: int) -> float:
    """Run `work` in processes of its own; return how many a second were done in all."""
    context = multiprocessing.get_context("spawn" if processes > 1 else "fork")
    running = [
        context.Process(target=work, args=(path, index, count)) for index in range(processes)
    ]
    began = time.monotonic()
    for process in running:
        process.start()
    for process in running:
        process.join()
    seconds = time.monotonic() - began
    failed = [p.exitcode for p in running if p.exitcode]
    if failed:
        sys.exit(f"FAILED: {len(failed)} of {processes} processes ended with {failed}")
    return processes * count / seconds


def main() -> None:
    """Measure, count, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=32)
    parser.add_argument("--count", type=int, default=1000, help="transitions of each process")
    parser.add_argument("--folder", type=Path, help="on the disk to measure")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="deployer-load-", dir=options.folder))
    try:
        _measure(folder, options.processes, options.count)
    finally:
        shutil.rmtree(folder)


def _measure(folder: Path, processes: int, count: int) -> None:
    path = folder / "state" / "state.db"
    _prepare(path, processes)
    rate = _rate(_move, path, processes, count)
    _bare(folder / "one.db")
    _bare(folder / "many.db")
    one = _rate(_commit, folder / "one.db", 1, max(count, 200))
    many = _rate(_commit, folder / "many.db", processes, count)
    with sqlite3.connect(path) as db:
        whole = db.execute("PRAGMA integrity_check").fetchone()[0]
        found = db.execute(
            "SELECT COUNT(*) FROM transitions WHERE trigger != 'succeed_create'"
        ).fetchone()[0]
        versions = db.execute("SELECT DISTINCT version, state FROM environments").fetchall()
    expected = State.PROVISION_FAILED if count % 2 == 0 else State.PROVISIONING
    print(f"{processes} processes, {count} transitions each: {found} of {processes * count} found")
    print(f"store: {rate:.0f} transitions/s, every one durable")
    print(f"bare SQLite, {processes} writers: {many:.0f} commits/s, ratio {rate / many:.2f}")
    print(f"bare SQLite, 1 writer: {one:.0f} commits/s, ratio {rate / one:.2f}")
    if whole != "ok" or found != processes * count:
        sys.exit(f"FAILED: {whole}, {found} transitions")
    if versions != [(count + 1, expected.value)]:
        sys.exit(f"FAILED: versions and states {versions}")
    assert Position.of(expected).rank == 0


if __name__ == "__main__":
    main()
