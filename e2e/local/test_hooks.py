"""Hooks around verbs: what they are told, what they may do, and what their failure means."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from deployer.lifecycle.hooks import FACTS, VARIABLES
from e2e.support import DEPLOYER, Environment, Site, until, workers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = """name = "quiet"
version = "1.0"

[[services]]
name = "idle"
command = ["sleep", "100000"]
"""
LASTING = "sleep 1000 & setsid sleep 1000 &"  # in the group of its hook, and in one of its own
HANGING = f"{LASTING} echo hanging; sleep 1000"
NOTE = "{ cat; env; } > $DEPLOYER_WORKSPACE$DEPLOYER_SHARED/$DEPLOYER_VERB-$DEPLOYER_WHEN"


def script(path: Path, text: str, *, mode: int = 0o755) -> str:
    """Write a program for the shell; its name in its folder's parent."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return f"{path.parent.name}/{path.name}"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """An application without hooks, running."""
    site = Site(tmp_path_factory.mktemp("hooks"))
    (site.root / "app").mkdir()
    (site.root / "app" / "app.toml").write_text(APP)
    try:
        site.run("create", "quiet", "--app", "./app")
        shop = Environment(site, "quiet")
        shop("deploy")
        yield shop
    finally:
        site.tear_down()


@pytest.fixture
def shop(deployed: Environment) -> Iterator[Environment]:
    """It, with a release; what tests write into its files is taken back."""
    before = deployed.file.read_text()
    yield deployed
    deployed.file.write_text(before)
    write_app(deployed, "")


def write_app(shop: Environment, hooks: str) -> None:
    """Give the application these hooks, and a content that it has not had before."""
    app = shop.site.root / "app"
    (app / "app.toml").write_text(f"{APP}\n[hooks]\n{hooks}")
    with (app / "content").open("a") as file:
        file.write("x")


def write_own(shop: Environment, hooks: str) -> None:
    """Give the environment these hooks."""
    shop.file.write_text(f"{shop.file.read_text()}\n[hooks]\n{hooks}\n")


def steps(shop: Environment) -> list[tuple[str, str]]:
    """The steps of the verbs that the last operation ran, with how they ended."""
    last = shop.operations[-1]
    return [(s["name"], s["outcome"]) for o in (last, *last["verbs"]) for s in o["steps"]]


def logs(shop: Environment) -> set[Path]:
    return set((shop.folder / "logs").glob("*.jsonl"))


def lines(shop: Environment) -> list[str]:
    """What hooks wrote, as the log of the last operation has it."""
    log = max(logs(shop))
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return [e["title"] for e in events if e.get("outcome") == "output"]


def told(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The facts and the variables that a hook noted."""
    facts, *rest = path.read_text().splitlines()
    return json.loads(facts), dict(line.partition("=")[::2] for line in rest)


def test_hooks_of_both_kinds_run_around_their_verbs_and_are_told_the_facts(
    shop: Environment,
) -> None:
    root = shop.site.root
    (root / "noted").mkdir()
    note = script(root / "hooks" / "note", NOTE.replace("$DEPLOYER_SHARED", "/noted"))
    asking = "deployer status quiet | cut -d, -f1; deployer deploy quiet --lock-wait 60; echo $?"
    ask = script(
        root / "hooks" / "ask", f"{LASTING} printf '\\033[1m%s\\033[0m\\n' \"$1\"\n{asking}"
    )
    inside = script(root / "app" / "bin" / "note", f"{NOTE}; pwd")
    write_own(shop, f'before_release = "{note}"\nafter_run = ["{ask}", "$HOME {{}}"]')
    names = ("before_release", "after_release", "before_run")
    write_app(shop, "".join(f'{name} = "{inside}"\n' for name in names))
    old = shop.shown["release"]

    shop("deploy")

    ran = [name for name, outcome in steps(shop) if outcome == "done"]
    assert ran == [
        # the release before this one has no hooks yet
        *("compare", "before_release", "bundle-up", "install", "app-after_release"),
        *("ports", "app-before_run", "start", "urls", "after_run"),
    ]
    said = lines(shop)
    assert said[:2] == [f"{shop.host}/releases/{old + 1}"] * 2
    # called from inside it reads, and is refused at once what would wait for itself
    assert said[2] == "$HOME {}"
    assert said[3].startswith("quiet: starting (locked by ")
    assert any("called from a hook of the operation" in line for line in said)
    assert said[-1] == "6"
    until("what a hook has left is gone", lambda: not workers(shop.uuid), deadline=1.0)

    facts, variables = told(root / "noted" / "release-before")
    assert facts.keys() == FACTS.keys()
    assert facts["release"] == {"number": old, "version": "1.0"}
    assert facts["next_release"] == {"number": old + 1, "version": "1.0"}
    assert facts["state"] == "releasing"
    mine = {name for name, (where, _) in VARIABLES.items() if where in ("both", "here")}
    assert mine == {name for name in variables if name in VARIABLES}
    assert variables["DEPLOYER_RELEASE"] == str(old)
    facts, variables = told(shop.host / "shared" / "run-before")
    assert facts.keys() == FACTS.keys()
    assert (facts["host"], facts["workspace"]) == ("localhost", None)
    assert facts["release"]["number"] == old + 1
    theirs = {name for name, (where, _) in VARIABLES.items() if where in ("both", "hosts")}
    assert theirs == {name for name in variables if name in VARIABLES}

    shop("deploy")
    assert (steps(shop), lines(shop)) == ([], []), "nothing was to do, but a hook ran"


def test_a_backup_that_fails_stops_an_upgrade_and_the_old_release_serves_on(
    shop: Environment,
) -> None:
    program = shop.site.root / "app" / "bin" / "backup"
    write_app(shop, f'before_release = "{script(program, "seq 30; echo no room >&2; exit 3")}"')
    shop("deploy")
    old, service = shop.shown["release"], shop.service("idle").pid
    write_app(shop, f'before_release = "{script(program, "echo the new one works")}"')

    failed = shop("upgrade", code=30)

    assert failed.error["step"] == "app-before_release"
    assert "./bin/backup exited 3" in failed.error["message"]
    assert failed.error["details"]["output"][-1] == "no room"
    assert len(failed.error["details"]["output"]) == 20
    assert failed.error["resume"].endswith("upgrade quiet")
    assert "--skip-hooks" in failed.error["hint"]
    assert failed.error["details"]["returned_to"] == old
    assert (shop.shown["state"], shop.shown["release"]) == ("running", old)
    assert shop.service("idle").pid == service
    assert not (shop.host / "releases" / str(old + 1)).exists()
    shop("upgrade", "--skip-hooks")
    assert shop.shown["release"] > old


def test_a_hook_that_fails_after_its_verb_is_a_warning(shop: Environment) -> None:
    notify = script(shop.site.root / "hooks" / "notify", "echo nobody is there; exit 9")
    write_own(shop, f'after_run = "{notify}"')

    done = shop("run")

    (verb,) = done.data["verbs"]
    assert done.data["state"] == "running"
    assert verb["outcome"] == "succeeded"
    assert verb["warnings"] == ["Hook after_run failed: ./hooks/notify exited 9"]
    assert steps(shop)[-1] == ("after_run", "failed")


def test_a_hook_that_hangs_is_ended_with_all_that_it_started(shop: Environment) -> None:
    hang = script(shop.site.root / "hooks" / "hang", HANGING)
    write_own(shop, f'before_run = "{hang}"')
    shop.edit('app = "./app"', 'app = "./app"\nstep_timeout = 0.5')

    failed = shop("run", code=40)

    assert (failed.error["code"], failed.error["step"]) == ("TIMEOUT", "before_run")
    assert failed.error["details"]["output"] == ["hanging"]
    assert not workers(shop.uuid)
    assert shop.service("idle").is_running()


def test_an_interrupt_ends_the_application_s_hook_and_the_next_call_runs_it_again(
    shop: Environment,
) -> None:
    again = f"[ -e $DEPLOYER_SHARED/again ] || {{ touch $DEPLOYER_SHARED/again; {HANGING}; }}"
    hang = script(shop.site.root / "app" / "bin" / "hang", again)
    write_app(shop, f'before_run = "{hang}"')
    shop("release")
    command = [str(DEPLOYER), "-C", str(shop.site.root), "run", "quiet"]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until("it hangs", lambda: lines(shop) == ["hanging"])

    running.send_signal(signal.SIGINT)

    assert running.wait(20) == 130
    assert not workers(shop.uuid)
    shop("run")
    assert ("app-before_run", "done") in steps(shop)


def test_an_interrupt_of_a_hook_after_a_verb_leaves_its_work_done(shop: Environment) -> None:
    hang = script(shop.site.root / "hooks" / "hang", HANGING)
    write_own(shop, f'after_run = "{hang}"')
    write_app(shop, "")
    command = [str(DEPLOYER), "-C", str(shop.site.root), "deploy", "quiet", "--rollback-on-failure"]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until("it hangs", lambda: lines(shop) == ["hanging"])

    running.send_signal(signal.SIGINT)

    assert running.wait(20) == 130
    assert not workers(shop.uuid)
    last = shop.operations[-1]
    assert (last["outcome"], last["verbs"][-1]["outcome"]) == ("interrupted", "succeeded")
    assert steps(shop)[-1] == ("after_run", "interrupted")
    assert shop.shown["state"] == "running"
    assert shop.service("idle").is_running()


def test_impatient_interrupts_end_it_with_the_same_exit_code(site: Site) -> None:
    script(site.root / "hooks" / "hang", HANGING)
    (site.root / "app").mkdir()
    (site.root / "app" / "app.toml").write_text(APP)
    site.run("create", "quiet", "--app", "./app")
    shop = Environment(site, "quiet")
    write_own(shop, 'before_configure = "hooks/hang"')
    command = [str(DEPLOYER), "-C", str(site.root), "deploy", "quiet", "--output", "json"]

    for number in range(1, 6):
        running = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until("it hangs", partial(_hangs, shop, number))
        while running.poll() is None:
            running.send_signal(signal.SIGINT)
            time.sleep(0.001)
        assert running.returncode == 130

    # a second one leaves at once; the next operation ends what is left
    shop("destroy", "--yes")
    assert not workers(shop.uuid)


def _hangs(shop: Environment, number: int) -> bool:
    """Whether its deploy of this number is at the hook."""
    return len(logs(shop)) == number and lines(shop) == ["hanging"]


def test_a_hook_that_can_not_be_run_is_found_before_anything_is_touched(shop: Environment) -> None:
    own = script(shop.site.root / "hooks" / "plain", "exit 0", mode=0o644)
    inner = script(shop.site.root / "app" / "bin" / "plain", "exit 0", mode=0o644)
    write_own(shop, f'before_run = "{own}"\nafter_stop = "hooks/nowhere"')
    write_app(shop, f'before_stop = "{inner}"\nafter_run = "bin/nowhere"')
    before = len(shop.operations)

    found = shop("validate", code=7).error["details"]["findings"]

    where = {one["value"]: (one["file"].rpartition("/")[2], one["fix"]) for one in found}
    assert where[own] == ("quiet.toml", f"chmod +x {own}")
    assert where["hooks/nowhere"][0] == "quiet.toml"
    assert where[inner] == ("app.toml", f"chmod +x app/{inner}")
    assert where["bin/nowhere"][0] == "app.toml"
    assert all(one["line"] for one in found)
    shop("deploy", code=7)
    assert [(o["verb"], o["verbs"]) for o in shop.operations[before:]] == [("deploy", [])]
    shop("run", "--skip-hooks")
    assert ("before_run", "skipped") in steps(shop)


def test_a_hook_in_the_wrong_file_or_of_a_wrong_name_is_refused_with_the_reason(
    shop: Environment,
) -> None:
    write_own(shop, 'before_create = "x"\nafter_runn = "x"')
    write_app(shop, 'before_provision = "x"\nbefore_run = "../x"\nafter_run = []')

    found = shop("validate", code=3).error["details"]["findings"]

    said = "\n".join(one["message"] for one in found)
    assert "hooks.before_create: create has no hooks" in said
    assert "did you mean 'after_run'?" in said
    shop.file.write_text(shop.file.read_text().partition("\n[hooks]")[0])
    found = shop("validate", code=3).error["details"]["findings"]
    said = "\n".join(one["message"] for one in found)
    assert "hooks.before_provision: hosts need not have a release then" in said
    assert "hooks.before_run: '../x' must be a relative path" in said
    assert "hooks.after_run: list should have at least 1 item" in said


def test_a_recorded_hook_that_is_gone_does_not_keep_an_environment_up(shop: Environment) -> None:
    gate = script(shop.site.root / "hooks" / "gate", "exit 0")
    write_own(shop, f'before_stop = "{gate}"')
    shop("run")
    (shop.site.root / gate).unlink()
    shop.file.unlink()

    failed = shop("stop", code=45)
    stopped = shop("stop", "--skip-hooks")

    assert "./hooks/gate can't be started: No such file or directory" in failed.error["message"]
    assert failed.error["hint"].endswith("stop quiet --skip-hooks")
    assert stopped.data["state"] == "released"
    assert steps(shop)[0] == ("before_stop", "skipped")
