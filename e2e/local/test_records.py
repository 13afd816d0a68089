"""The record beside the world: check, repair, unlock, undo, resume, backups, the end of records."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from e2e.support import DEPLOYER, fetch, kill, replace, until, workers
from state.machine import ACTING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.support import Environment, Site

BROKEN = "raise SystemExit('broken on purpose')\n"
# the installer of a release waits for this file's lock
HOLD = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(); input()"


def deploying(running: Environment) -> subprocess.Popen[str]:
    """A deploy that goes on in the background."""
    return subprocess.Popen(
        [str(DEPLOYER), "-C", str(running.site.root), "deploy", running.name],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def interrupted_release(running: Environment) -> None:
    """A deploy that was interrupted while it put a release in place."""
    with held_up(running, mended=False) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


@contextmanager
def held_up(running: Environment, *, mended: bool = True) -> Iterator[subprocess.Popen[str]]:
    """A deploy that stands still while it puts a release in place.

    `mended`: the edit of the app that it releases is taken back afterwards.
    """
    lock = running.host / "runtime" / "lock"
    holder = subprocess.Popen(
        ["python3", "-c", HOLD, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout
    holder.stdout.readline()
    replace(running.site.root / "app" / "web.py", '"""The page:', '"""The page!')
    process = deploying(running)
    try:
        until("the release begins", lambda: running.record.state in ACTING)
        until("ansible is at work", lambda: bool(workers(running.uuid)))
        yield process
    finally:
        if holder.poll() is None:
            holder.communicate("\n")
        if process.poll() is None:
            process.kill()
        process.communicate()
        if mended:
            replace(running.site.root / "app" / "web.py", '"""The page!', '"""The page:')


def test_check_finds_nothing_where_all_is_as_recorded(running: Environment) -> None:
    assert running("check").data["differences"] == []


def test_check_and_repair_tell_what_died_and_change_no_host(running: Environment) -> None:
    kill(*running.processes())

    found = running("check", code=8).data["differences"]
    planned = running("repair").data
    before = running.shown["state"]
    applied = running("repair", "--apply").data

    assert [d["what"] for d in found] == ["services"]
    assert (planned["supported"], planned["applied"]) == ("released", False)
    assert before == "running"
    assert applied["applied"]
    assert running.shown["state"] == "released"
    assert running.processes() == []


def test_check_names_a_changed_configuration(running: Environment) -> None:
    running.edit("[settings]", '[settings]\ntitle = "Another"')

    found = running("check", code=8).data["differences"]

    assert [(d["what"], "release" in d["message"]) for d in found] == [("configuration", True)]
    running.edit('\ntitle = "Another"', "")


def test_a_living_holder_is_shown_and_ended_only_by_force(running: Environment) -> None:
    with held_up(running) as process:
        refused = running("unlock", code=6).error
        assert str(process.pid) in refused["message"]
        assert process.poll() is None

        broken = running("unlock", "--force", "--yes").data

        assert broken["broken"]
        assert process.wait(30) in (143, -signal.SIGKILL)
        assert workers(running.uuid) == []
        assert running.shown["state"] == "release_failed"
    assert running("deploy").data["state"] == "running"


def test_a_dead_holder_is_cleaned_up_after(running: Environment) -> None:
    with held_up(running) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert running("status").data["interrupted"]
        found = [d["what"] for d in running("check", code=8).data["differences"]]
        assert "interrupted" in found

        assert running("unlock").data["broken"]

        assert workers(running.uuid) == []
        assert not running("status").data["interrupted"]
    cut_short = [o for o in running.operations if o["outcome"] == "interrupted"]
    assert "took over" in cut_short[-1]["error"]["message"]


def test_a_failed_release_is_resumed_behind_what_is_done(running: Environment) -> None:
    interrupted_release(running)

    running("release")

    steps = [(s["name"], s["outcome"]) for s in running.operations[-1]["steps"]]
    assert ("bundle-up", "skipped") in steps
    assert ("install", "done") in steps
    replace(running.site.root / "app" / "web.py", '"""The page!', '"""The page:')


def test_from_start_runs_all_steps(running: Environment) -> None:
    interrupted_release(running)

    running("release", "--from-start")

    steps = {s["name"]: s["outcome"] for s in running.operations[-1]["steps"]}
    assert steps["bundle-up"] == "done"
    replace(running.site.root / "app" / "web.py", '"""The page!', '"""The page:')


def test_a_failed_first_deploy_is_undone_where_that_is_asked_for(site: Site) -> None:
    app = site.own_app()
    (app / "web.py").write_text(BROKEN, encoding="utf-8")
    demo = site.environment(app=app)

    demo("deploy", "--rollback-on-failure", code=40)

    assert demo.processes() == []
    undone = [s["name"] for s in demo.operations[-1]["verbs"][-1]["steps"]]
    assert undone[-1] == "undo-stop-services"
    assert demo.shown["state"] == "run_failed"


def test_a_backup_put_back_is_what_the_store_was(running: Environment) -> None:
    saved = running.site.run("backup").data
    running("stop")

    running.site.run("restore", saved["path"], "--yes")

    assert running.shown["state"] == "running"
    assert running("check", code=8).data["differences"]
    assert running("deploy").verbs == ["run"]
    assert "Guestbook" in fetch(running.url)


def test_no_store_is_put_back_under_an_operation(running: Environment) -> None:
    saved = running.site.run("backup").data["path"]
    with held_up(running):
        refused = running.site.run("restore", saved, "--yes", code=9).error
        assert running.name in refused["message"]


def test_the_history_tells_one_operation_whole(running: Environment) -> None:
    last = running.operations[-1]

    told = running("history", "--operation", last["id"]).data

    assert told["operations"][0]["command"] == last["command"]
    assert {"actor", "host", "pid", "correlation_id", "seconds"} <= set(told["operations"][0])
    assert "OperationStarted" in {event["event"] for event in told["events"]}
    assert running("history", "--operation", "nothing", code=4).error["code"] == (
        "OPERATION_NOT_FOUND"
    )


def test_the_history_keeps_as_many_operations_as_wanted(running: Environment) -> None:
    running.edit("# keep_operations = 1000", "keep_operations = 2")
    before = {operation["id"] for operation in running.operations}
    running("configure")  # an intent records the new number
    running("deploy")
    running("deploy")

    kept = {operation["id"] for operation in running.operations}
    logs = {path.stem for path in (running.folder / "logs").glob("*.jsonl")}
    assert len(kept) == 2
    assert kept <= logs
    assert not before & logs
    running.edit("keep_operations = 2", "# keep_operations = 1000")


def test_only_the_records_of_what_is_destroyed_can_be_purged(site: Site) -> None:
    demo = site.environment()
    demo("purge", "--yes", code=5)
    demo("destroy", "--yes")
    assert demo("history").data["operations"]

    demo("purge", "--yes")

    demo("history", code=4)
    assert not demo.folder.exists()
    assert demo.file.exists()
