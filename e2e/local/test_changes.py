"""What was changed, broken or removed decides which verbs `deploy` runs."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from e2e.support import fetch, kill, post, private_folder, replace, until

if TYPE_CHECKING:
    from e2e.support import Environment


def test_nothing_is_done_where_nothing_changed(running: Environment) -> None:
    before = running.pids()

    again = running("deploy")

    assert again.verbs == []
    assert again.data["urls"] == [running.url]
    assert running.pids() == before


def test_a_change_of_the_source_is_released_and_run(running: Environment) -> None:
    before, release = running.pids(), running.shown["release"]
    replace(running.site.root / "app" / "web.py", "Newest first.", "Newest on top.")
    post(running.url, name="Ada", text="a line")

    deployed = running("deploy")

    assert deployed.verbs == ["release", "run"]
    assert deployed.data["release"] == release + 1
    assert deployed.data["serving"] == [release + 1]
    assert "Newest on top." in fetch(running.url)
    after = running.pids()
    assert after["supervisord"] == before["supervisord"]
    assert not {before["web"], before["worker"]} & {*after.values()}
    replace(running.site.root / "app" / "web.py", "Newest on top.", "Newest first.")


def test_a_change_of_a_setting_is_released_and_run(running: Environment) -> None:
    running.edit("[settings]", '[settings]\ntitle = "Visitors & friends"')

    assert running("deploy").verbs == ["release", "run"]

    assert "<h1>Visitors &amp; friends</h1>" in fetch(running.url)
    running.edit('\ntitle = "Visitors & friends"', "")


def test_an_edit_that_is_reverted_leaves_nothing_to_do(running: Environment) -> None:
    source = running.site.root / "app" / "web.py"
    text = source.read_text(encoding="utf-8")
    release = running.shown["release"]
    source.write_text(text + "\n# an idea\n", encoding="utf-8")
    source.write_text(text, encoding="utf-8")
    running.edit("[settings]", '[settings]\ntitle = "Other"')
    running.edit('\ntitle = "Other"', "")

    again = running("deploy")

    assert again.verbs == []
    assert again.data["release"] == release


def test_killed_services_are_run_again(running: Environment) -> None:
    kill(running.service("supervisord"), running.service("web"), running.service("worker"))

    assert running("deploy").verbs == ["run"]

    assert "Guestbook" in fetch(running.url)
    running.pids()


def test_what_the_runtime_has_started_again_leaves_nothing_to_do(running: Environment) -> None:
    old = running.service("web")
    kill(old)
    until("the runtime starts the service again", running.is_healthy)

    assert running("deploy").verbs == []

    assert running.service("web").pid != old.pid


def test_a_service_that_hangs_is_run_again(running: Environment) -> None:
    before = running.pids()
    running.service("web").send_signal(signal.SIGSTOP)

    deployed = running("deploy")

    assert deployed.verbs == ["run"]
    assert deployed.data["state"] == "running"
    assert "Guestbook" in fetch(running.url)
    after = running.pids()
    assert after["web"] != before["web"]
    assert after["worker"] == before["worker"]


def test_a_host_folder_that_is_gone_is_configured_again(running: Environment) -> None:
    before = running.pids()
    shutil.rmtree(running.host)

    deployed = running("deploy")

    assert deployed.verbs == ["configure", "release", "run"]
    assert "Guestbook" in fetch(running.url)
    # the old ones have an unlinked book open: none may go on
    assert not {*before.values()} & {*running.pids().values()}


def test_releases_that_are_gone_are_released_again(running: Environment) -> None:
    shutil.rmtree(running.host / "releases")
    (running.host / "releases").mkdir()
    (running.host / "current").unlink()

    deployed = running("deploy")

    assert deployed.verbs == ["release", "run"]
    assert "Guestbook" in fetch(running.url)
    running.pids()


def _lose_the_daemon(demo: Environment) -> None:
    kill(demo.service("supervisord"))


def _lose_the_socket(demo: Environment) -> None:
    (socket,) = private_folder(demo.uuid).rglob("supervisor.sock")
    socket.unlink()


def _lose_the_private_folder(demo: Environment) -> None:
    shutil.rmtree(private_folder(demo.uuid))


def _lose_all_of_it(demo: Environment) -> None:
    _lose_the_daemon(demo)
    _lose_the_private_folder(demo)


@pytest.mark.parametrize(
    "lose", [_lose_the_daemon, _lose_the_socket, _lose_the_private_folder, _lose_all_of_it]
)
def test_a_lost_supervisor_is_replaced_by_exactly_one(running: Environment, lose) -> None:
    before = running.pids()
    lose(running)
    assert {before["web"], before["worker"]} <= {p.pid for p in running.processes()}

    assert running("deploy").verbs == ["run"]

    assert not {*before.values()} & {*running.pids().values()}
    assert "Guestbook" in fetch(running.url)
    assert running("deploy").verbs == []
