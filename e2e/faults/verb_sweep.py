"""SIGKILL where else it hurts: during destroy, during a take-over, during a migration; by turns."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from harness import Broken, expect, hit_at, lab, prove
from sweep import check_second

from state import migrations

if TYPE_CHECKING:
    import random
    from pathlib import Path

DRIVER = """
import sqlite3, sys
from pathlib import Path
from state import migrations

def second(db):
    for number in range(20):
        db.table(f"made_up_{number}").create({"id": int, "text": str}, pk="id")
        db.table(f"made_up_{number}").insert_all({"text": "x" * 2000} for _ in range(2000))
    db.table("environments").add_column("made_up", str)

path = Path(sys.argv[1])
connection = sqlite3.connect(path, timeout=30, isolation_level=None)
connection.execute("PRAGMA synchronous = FULL")
print("begins", flush=True)
migrations.migrate(connection, path, (*migrations.MIGRATIONS, second))
print("done", flush=True)
"""


def destroy(dice: random.Random) -> str:
    """A destroy that was killed is finished by the next, and nothing is left."""
    with lab() as found:
        found.create()
        found.deploy()
        child = found.start("destroy", found.name, "--yes")
        way = hit_at(found, child, dice.random() * 1.5, dice)
        first = child.wait()
        expect(first.code in (0, -9), f"{first}")
        found.check_store()
        found.check_intent()
        private = found.private
        found.run("destroy", found.name, "--yes")
        expect(found.record()["state"] == "destroyed", "it is not destroyed")
        expect(not found.workers() and not found.services(), "something still runs")
        host = found.state_dir / "environments" / found.name / "host"
        left = [str(path) for path in (host, private) if path.exists()]
        expect(not left, f"left behind: {left}")
        unended = found.rows("SELECT id FROM operations WHERE outcome IS NULL")
        expect(not unended, f"operations without an end: {unended}")
        found.create()
        found.deploy()
        found.check_running()
    return f"destroy, SIGKILL to {way}"


def take_over(dice: random.Random) -> str:
    """A deploy is killed, and so is the one that takes over from it; the third finishes."""
    with lab() as found:
        found.create()
        child = found.start("deploy", found.name)
        hit_at(found, child, 0.8 + dice.random() * 3, dice)
        child.wait()
        second = found.start("deploy", found.name)
        way = hit_at(found, second, 0.2 + dice.random(), dice)
        second.wait()
        found.check_store()
        found.check_intent()
        check_second(found, found.newest_token() - 1)
    return f"take-over, SIGKILL to {way}"


def migration(dice: random.Random) -> str:
    """A migration is there as a whole or not at all, and the backup before it is whole."""
    with lab() as found:
        found.create()
        path = found.state_dir / "state.db"
        argv = [sys.executable, "-c", DRIVER, str(path)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        expect(process.stdout.readline() == "begins\n", "the driver doesn't begin")
        try:
            process.wait(dice.random() * 0.8)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        version = _whole(path)
        present = len(migrations.MIGRATIONS)
        expect(version in (present, present + 1), f"schema {version}")
        for saved in (found.state_dir / "backups").glob("*.db"):
            if saved.stat().st_size and not saved.with_name(saved.name + "-journal").exists():
                _whole(saved)
        subprocess.run(argv, check=True, capture_output=True)
        expect(_whole(path) == present + 1, "the migration was not finished")
        rows = found.rows("SELECT COUNT(*) AS n FROM made_up_19")
        expect(rows[0]["n"] == 2000, f"{rows}")
        expect(found.record()["state"] == "created", "the environment is lost")
        done = found.run("deploy", found.name, codes=(9,))
        expect("newer version" in done.error["message"], f"{done}")
    return "migration" + ("" if version == present else " (was done already)")


def _whole(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        said = db.execute("PRAGMA integrity_check").fetchone()[0]
        if said != "ok":
            raise Broken(f"{path}: {said}")
        return int(db.execute("PRAGMA user_version").fetchone()[0])


TRIES = (destroy, take_over, migration)

if __name__ == "__main__":
    prove(lambda dice, index: TRIES[index % len(TRIES)](dice), count=30)
