"""Releases: brought live, gone back from by themselves or by hand, listed, kept and pruned."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any

import pytest

from e2e.support import fetch, free_port, post, replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.support import Environment

HEADING = "Newest first."
CRASH = "\nimport sys; sys.exit('no such table')\n"


def releases(environment: Environment) -> dict[int, dict[str, Any]]:
    return {one["number"]: one for one in environment("releases").data["releases"]}


def change(environment: Environment, old: str, new: str) -> None:
    replace(environment.site.root / "app" / "web.py", old, new)


@pytest.fixture
def edited(running: Environment) -> Iterator[Environment]:
    """The deployment, whose source is put back afterwards."""
    source = running.site.root / "app" / "web.py"
    text = source.read_text(encoding="utf-8")
    yield running
    source.write_text(text, encoding="utf-8")


def test_an_upgrade_brings_the_new_version_live_and_keeps_the_data(edited: Environment) -> None:
    before = edited.shown["release"]
    post(edited.url, name="Ada", text="kept through upgrades")
    change(edited, HEADING, "Version two.")

    upgraded = edited("upgrade")

    assert upgraded.verbs == ["release", "run"]
    assert re.search(r"web was away for \d+ ms", upgraded.stderr)
    assert "Version two." in fetch(edited.url)
    assert "kept through upgrades" in fetch(edited.url)
    found = releases(edited)
    assert (found[before + 1]["current"], found[before + 1]["serving"]) == (True, True)
    assert found[before + 1]["last_healthy"]
    assert not found[before]["current"] and found[before]["healthy_at"]


def test_an_upgrade_that_fails_is_back_on_the_old_release_by_itself(edited: Environment) -> None:
    before = edited.shown["release"]
    post(edited.url, name="Ada", text="still here")
    change(edited, '"""The page', CRASH + '"""The page')

    failed = edited("upgrade", code=40)

    assert failed.error["details"]["returned_to"] == before
    assert "no such table" in "\n".join(failed.error["details"]["output"])
    assert failed.error["step"] == "start"
    shown = edited.shown
    assert (shown["state"], shown["release"], shown["serving"]) == ("running", before, [before])
    assert "still here" in fetch(edited.url)
    last = edited("history", "--limit", "1").data["operations"][-1]
    assert (last["verb"], last["outcome"]) == ("upgrade", "failed")
    assert releases(edited)[before + 1]["healthy_at"] is None


def test_an_upgrade_that_fails_is_undone_under_the_health_policy_of_before(
    edited: Environment,
) -> None:
    before = edited.record
    change(edited, '"""The page', CRASH + '"""The page')

    failed = edited("upgrade", "--set", "health.timeout=0.1", code=40)

    assert failed.error["details"]["returned_to"] == before.inputs["release"]["number"]
    assert edited.record.config == before.config
    assert edited.shown["state"] == "running"


def test_an_upgrade_to_a_port_that_is_taken_is_back_on_the_old_release(
    edited: Environment,
) -> None:
    before, text, url = edited.shown["release"], edited.file.read_text(), edited.url
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        edited.file.write_text(re.sub(r"(?m)^port = \d+", f"port = {port}", text))

        refused = edited("upgrade", code=7)

    edited.file.write_text(text)
    assert refused.error["details"]["returned_to"] == before
    assert (edited.shown["state"], edited.shown["release"]) == ("running", before)
    assert fetch(url)


def test_an_upgrade_that_fails_while_looking_has_nothing_to_return_from(
    edited: Environment,
) -> None:
    owner = edited.host / "owner.json"
    before, text = edited.shown["release"], owner.read_text()
    owner.write_text('{"uuid": "another"}')

    failed = edited("upgrade", code=30)

    owner.write_text(text)
    # before it there may be a release that was healthy too, but this one has been serving
    assert [verb["verb"] for verb in edited.operations[-1]["verbs"]] == ["release"]
    assert "eturn" not in failed.error["hint"]
    assert (edited.shown["state"], edited.shown["release"]) == ("running", before)


def test_a_release_waits_for_hosts_that_are_configured_for_it(running: Environment) -> None:
    manifest = running.site.root / "app" / "app.toml"
    text, before = manifest.read_text(encoding="utf-8"), running.record
    manifest.write_text(text.replace("requires =", 'packages = ["bash"]\nrequires ='))
    try:
        for verb in ("upgrade", "redeploy", "release"):
            refused = running(verb, code=7)
            assert "the packages bash" in refused.error["message"]
            assert f"deployer configure {running.name}" in refused.error["hint"]
            assert running.record.position == before.position
        assert running("deploy").verbs == ["configure", "release", "run"]
    finally:
        manifest.write_text(text, encoding="utf-8")


def test_a_rollback_needs_no_files_of_the_application(edited: Environment) -> None:
    change(edited, HEADING, "Regretted.")
    edited("upgrade")
    regretted = edited.shown["release"]
    manifest = edited.site.root / "app" / "app.toml"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text("broken", encoding="utf-8")

    back = edited("rollback")

    assert back.verbs == ["release", "run"]
    assert "Regretted." not in fetch(edited.url)
    manifest.write_text(text, encoding="utf-8")
    edited("rollback", str(regretted))
    assert "Regretted." in fetch(edited.url)
    listed = edited("rollback", "--list").data["releases"]
    assert [one["number"] for one in listed if one["current"]] == [regretted]


def test_what_is_not_there_can_not_be_gone_back_to(running: Environment) -> None:
    assert running("rollback", "999", code=4).error["code"] == "RELEASE_NOT_FOUND"


def test_a_damaged_release_is_refused_and_nothing_is_touched(edited: Environment) -> None:
    change(edited, HEADING, "Sound.")
    edited("upgrade")
    current = edited.shown["release"]
    folder = edited.site.root / ".deployer" / "environments" / edited.name / "host" / "releases"
    old = max(int(one.name) for one in folder.iterdir() if int(one.name) != current)
    (folder / str(old) / "web.py").write_text("tampered", encoding="utf-8")
    before = edited.pids()

    refused = edited("rollback", str(old), code=30)

    assert refused.error["code"] == "RELEASE_BROKEN"
    assert "web.py has another content" in refused.error["message"]
    assert edited.shown["state"] == "running"
    assert edited.pids() == before


def test_a_rollback_that_failed_is_finished_by_the_same_command(edited: Environment) -> None:
    before = edited.shown["release"]
    change(edited, HEADING, "Newer.")
    edited("upgrade")
    current = edited.site.root / ".deployer" / "environments" / edited.name / "host" / "current"
    current.unlink()
    (current / "in the way").mkdir(parents=True)

    edited("rollback", str(before), code=30)

    (current / "in the way").rmdir()
    current.rmdir()
    edited("rollback", str(before))
    assert edited.shown["release"] == before
    assert "Newer." not in fetch(edited.url)


def test_a_restart_replaces_the_process_of_one_service(running: Environment) -> None:
    before = running.pids()

    running("restart", "web")

    after = running.pids()
    assert after["web"] != before["web"]
    assert after["worker"] == before["worker"]
    assert running("restart", "webb", code=4).error["code"] == "SERVICE_NOT_FOUND"


def test_a_redeploy_starts_services_anew_without_a_new_release(running: Environment) -> None:
    before, release = running.pids(), running.shown["release"]

    running("redeploy")

    after = running.pids()
    assert running.shown["release"] == release
    assert not {before["web"], before["worker"]} & {*after.values()}


def test_old_releases_are_removed_but_not_the_last_healthy_one(edited: Environment) -> None:
    healthy = edited.shown["release"]
    edited.edit("[settings]", "keep_releases = 2\n\n[settings]")
    change(edited, '"""The page', CRASH + '"""The page')
    for _ in range(3):
        change(edited, CRASH, CRASH + "# again\n")
        edited("release")

    found = releases(edited)

    newest = max(found)
    kept = {number for number, one in found.items() if one["status"] == "released"}
    assert kept == {healthy, newest - 1, newest}
    folder = edited.site.root / ".deployer" / "environments" / edited.name / "host" / "releases"
    assert {int(one.name) for one in folder.iterdir()} == kept
    assert edited("rollback", str(newest - 2), code=5).error["code"] == "NOT_ALLOWED"
    edited("rollback")
    assert edited.shown["release"] == healthy
    edited.edit("keep_releases = 2\n\n[settings]", "[settings]")


def test_a_reset_leaves_a_configured_host_and_the_data(running: Environment) -> None:
    post(running.url, name="Ada", text="before the reset")

    done = running("reset")

    assert done.verbs == ["stop", "clear"]
    assert running.shown["state"] == "configured"
    refused = running("rollback", code=5)
    assert refused.error["code"] == "NOT_ALLOWED"
    running("deploy")
    assert "before the reset" in fetch(running.url)
