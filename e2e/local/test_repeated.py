"""Verbs run again on a serving application; failures that leave it serving."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from e2e.support import fetch, post, replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.support import Environment, Site

STRANGER = "00000000-0000-4000-8000-000000000000"


@contextmanager
def belonging_to_a_stranger(demo: Environment) -> Iterator[None]:
    """The host folder says that it is another environment's."""
    owner = demo.host / "owner.json"
    text = owner.read_text(encoding="utf-8")
    owner.write_text(json.dumps({"uuid": STRANGER}), encoding="utf-8")
    yield
    owner.write_text(text, encoding="utf-8")


def test_provision_again_that_changes_nothing_gives_the_state_back(running: Environment) -> None:
    before = running.pids()

    again = running("provision").data

    assert again["state"] == "running"
    assert [verb["changed"] for verb in again["verbs"]] == [False]
    assert running.pids() == before


def test_configure_that_changes_nothing_gives_the_state_back(running: Environment) -> None:
    before = running.pids()

    again = running("configure").data

    assert again["state"] == "running"
    assert [verb["changed"] for verb in again["verbs"]] == [False]
    assert running.pids() == before
    assert running("deploy").verbs == []


def test_configure_that_changes_something_goes_on_serving(running: Environment) -> None:
    before, release = running.pids(), running.shown["release"]
    (running.host / "runtime" / "launch.py").unlink()

    configured = running("configure").data

    assert configured["state"] == "configured"
    assert configured["serving"] == [release]
    assert "Guestbook" in fetch(running.url)
    deployed = running("deploy")
    assert deployed.verbs == ["release", "run"]
    assert deployed.data["state"] == "running"
    assert deployed.data["release"] == release
    assert running.pids() == before


def test_configure_that_fails_goes_on_serving_until_stopped(running: Environment) -> None:
    before, release = running.pids(), running.shown["release"]
    launcher = running.host / "runtime" / "launch.py"
    launcher.unlink()
    launcher.mkdir()

    failed = running("configure", code=20)

    assert failed.error["step"] == "prepare-hosts"
    assert failed.error["host"] == "localhost"
    status = running("status").data
    assert (status["state"], status["rank"]) == ("configure_failed", 1)
    assert status["serving"] == [release]
    assert status["seen"]["localhost"]["services"]["web"]["healthy"] is True
    assert "Guestbook" in fetch(running.url)
    assert running.pids() == before

    stopped = running("stop").data

    assert (stopped["state"], stopped["serving"]) == ("configure_failed", [])
    assert running.processes() == []
    launcher.rmdir()
    deployed = running("deploy")
    assert deployed.verbs == ["configure", "release", "run"]
    assert "Guestbook" in fetch(running.url)


def test_a_new_release_serves_only_once_it_is_run(running: Environment) -> None:
    before, release = running.pids(), running.shown["release"]
    replace(running.site.root / "app" / "web.py", "Be the first!", "Begin!")
    replace(running.site.root / "app" / "web.py", "Newest first.", "Newest on top.")

    released = running("release").data

    assert (released["state"], released["release"]) == ("released", release + 1)
    assert released["serving"] == [release]
    assert running.pids() == before
    assert "on top" not in fetch(running.url)

    run = running("run").data

    assert (run["state"], run["serving"]) == ("running", [release + 1])
    page = fetch(running.url)
    assert "on top" in page or "Begin!" in page
    assert not {before["web"], before["worker"]} & {*running.pids().values()}


def test_a_failure_while_looking_leaves_the_state_alone(running: Environment) -> None:
    before = running.pids()
    with belonging_to_a_stranger(running):
        deploy = running("deploy", code=10)
        release = running("release", code=30)

        assert deploy.error["code"] == release.error["code"] == "FOREIGN_ROOT"
        shown = running.shown
        assert (shown["state"], shown["rank"]) == ("running", 4)
        failed = running.operations[-2:]

    assert [o["verb"] for o in failed] == ["deploy", "release"]
    assert [o["outcome"] for o in failed] == ["failed", "failed"]
    assert [o["to_state"] for o in failed] == ["running", "running"]
    assert running.pids() == before
    assert running("deploy").verbs == []


def test_a_destroy_that_failed_is_finished_by_another(site: Site) -> None:
    demo = site.environment()
    demo("deploy")
    with belonging_to_a_stranger(demo):
        assert demo("destroy", "--yes", code=50).error["code"] == "FOREIGN_ROOT"
        assert demo.shown["state"] == "destroy_failed"
        assert demo.host.is_dir()

        refused = demo("deploy", code=5)

        assert refused.error["details"]["state"] == "destroy_failed"
        assert sorted(refused.error["details"]["allowed"]) == ["destroy", "stop"]
        assert demo("destroy", "--yes", code=50).error["code"] == "FOREIGN_ROOT"

    assert demo("destroy", "--yes").data["state"] == "destroyed"
    assert demo.processes() == []
    assert not demo.host.exists()
    # once more there is nothing to do
    assert demo("destroy", "--yes").data["state"] == "destroyed"


def test_a_new_generation_inherits_nothing(site: Site) -> None:
    app = site.own_app()
    demo = site.environment(app=app)
    demo("deploy")
    replace(app / "web.py", "Be the first!", "Begin!")
    first = demo("deploy").data
    post(demo.url, name="Ada", text="a line that goes with its generation")
    old = {p.pid for p in demo.processes()}
    demo("destroy", "--yes")

    created = demo("create").data

    assert (created["generation"], created["state"]) == (2, "created")
    assert created["uuid"] != first["uuid"]
    assert (created["release"], created["serving"], created["urls"]) == (None, [], [])
    assert created["hosts"] == []
    second = demo("deploy")
    assert second.verbs == ["provision", "configure", "release", "run"]
    assert second.data["release"] == 1
    assert "Begin!" in fetch(demo.url)
    assert not old & {p.pid for p in demo.processes()}
    verbs = [o["verb"] for o in demo.operations]
    assert verbs == ["create", "deploy", "deploy", "destroy", "create", "deploy"]
