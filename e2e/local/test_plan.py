"""`plan`: it tells what `deploy` does next, and leaves everything as it was."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from e2e.support import DEPLOYER, on_terminal, replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.support import Environment, Outcome, Site


@pytest.fixture
def edited(running: Environment) -> Iterator[Environment]:
    """The deployment, with changes that are not released: a file, a new one, and one less."""
    folder = running.site.root / "app"
    kept = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    replace(folder / "web.py", '"""The page', '"""The edited page')
    (folder / "new.txt").write_text("new\n", encoding="utf-8")
    yield running
    (folder / "new.txt").unlink()
    for path, content in kept.items():
        path.write_bytes(content)


def everything(site: Site) -> dict[str, Any]:
    """Every file with its digest and times, and every row of the store; logs of services aside."""
    found: dict[str, Any] = {}
    for path in sorted(site.root.rglob("*")):
        name = str(path.relative_to(site.root))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file() and "state.db" not in name and "/host/shared/" not in name:
            stat = path.stat()
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[name] = (digest, oct(stat.st_mode)) if "/logs/" not in name else None
        elif path.is_dir():
            found[name] = oct(path.stat().st_mode)
    with closing(sqlite3.connect(site.root / ".deployer" / "state.db")) as store:
        tables = [row[0] for row in store.execute("SELECT name FROM sqlite_schema")]
        for table in tables:
            if not table.startswith(("sqlite_", "idx_")):
                found[f"table {table}"] = _rows(store, table)
    return found


def _rows(store: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    try:
        return store.execute(f"SELECT * FROM {table}").fetchall()
    except sqlite3.OperationalError:  # an index
        return []


def outcomes(plan: Outcome) -> dict[str, str]:
    return {verb["verb"]: verb["outcome"] for verb in plan.data["verbs"]}


def changes(plan: Outcome, verb: str) -> set[tuple[str, str, str]]:
    (found,) = [one for one in plan.data["verbs"] if one["verb"] == verb]
    return {
        (change["action"], change["kind"], change["name"])
        for step in found["steps"]
        for change in step["changes"]
    }


def as_text(environment: Environment) -> str:
    command = [DEPLOYER, "-C", environment.site.root, "plan", environment.name]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    ).stdout


def test_where_nothing_is_to_do_the_plan_says_so(shared: Environment) -> None:
    plan = shared("plan", "--detailed-exitcode", code=0)

    assert set(outcomes(plan).values()) == {"skip"}
    assert plan.data["changes"] is False


def test_what_the_gates_refuse_has_no_plan(shared: Environment) -> None:
    plan = shared("plan", "--set", "worker_interval=x", code=None)

    assert plan.code == shared("deploy", "--set", "worker_interval=x", code=None).code
    assert plan.code in (3, 7)


def test_a_plan_before_the_first_deploy_tells_all_that_it_will_make(site: Site) -> None:
    environment = site.environment()
    before = everything(site)

    plan = environment("plan", "--detailed-exitcode", code=8)

    assert everything(site) == before
    assert outcomes(plan) == {
        "provision": "no-change",
        "configure": "change",
        "release": "change",
        "run": "change",
    }
    assert ("create", "file", "web.py") in changes(plan, "release")
    assert ("start", "service", "web") in changes(plan, "run")


def test_a_plan_names_what_the_deploy_then_changes_and_leaves_no_trace(
    edited: Environment,
) -> None:
    before = everything(edited.site)
    pids = edited.pids()

    plan = edited("plan", "--detailed-exitcode", code=8)
    said = as_text(edited)

    assert everything(edited.site) == before
    assert edited.pids() == pids
    assert '+"""The edited page' in said
    assert "last time" in said
    assert "configure: skipped" in said
    assert [v for v, outcome in outcomes(plan).items() if outcome == "change"] == [
        "release",
        "run",
    ]
    assert changes(plan, "release") == {
        ("change", "file", "web.py"),
        ("create", "file", "new.txt"),
    }
    assert changes(plan, "run") == {
        ("restart", "service", "web"),
        ("restart", "service", "worker"),
    }
    assert edited("deploy").verbs == ["release", "run"]
    assert edited.pids()["web"] != pids["web"]


def test_a_service_that_died_is_in_the_plan(running: Environment) -> None:
    for process in running.processes():
        process.kill()
        process.wait()

    plan = running("plan")

    assert plan.data["gone"]
    assert outcomes(plan)["release"] == "skip"
    assert ("start", "service", "web") in changes(plan, "run")
    assert running.shown["state"] == "running"  # the record is not lowered by it


def test_on_a_terminal_deploy_shows_its_plan_and_asks_before_it_changes_what_runs(
    edited: Environment,
) -> None:
    command = [str(DEPLOYER), "-C", str(edited.site.root), "deploy", edited.name]
    release = edited.shown["release"]

    refused = on_terminal(*command, answers="n\n")

    assert refused.code == 2
    assert "change file web.py" in refused.stdout
    assert "Nothing was done" in refused.stdout
    assert edited.shown["release"] == release
    edited.edit("# confirm = true", "confirm = false")
    try:
        assert on_terminal(*command).code == 0
    finally:
        edited.edit("confirm = false", "# confirm = true")
    assert edited.shown["release"] == release + 1
