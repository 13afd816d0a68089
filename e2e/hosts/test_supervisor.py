"""Services under supervisor, as a user of their own, on a host that has no systemd."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from e2e.hosts.driven import FILES, Driven, ask, bring, idle, web
from e2e.hosts.fleet import docker_host
from e2e.support import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.hosts.fleet import SshHost

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    with docker_host() as found:
        bring(found)
        found.exec("apt-get", "update", "--quiet")
        found.exec(
            "apt-get", "install", "--quiet", "--yes", "--no-install-recommends", "supervisor"
        )
        yield found


@pytest.fixture
def shop(host: SshHost) -> Iterator[Driven]:
    found = Driven(host, "shop", runtime="supervisor")
    found.act("prepare")
    yield found
    found.act("remove")


def test_services_run_as_their_own_user_and_are_kept_up(shop: Driven) -> None:
    places = [f"{shop.root}/{name}" for name in ("shared", "logs", "runtime", "releases/1", "")]
    shop.release([web(8080, *places), idle("worker")], FILES)

    shop.run_services()

    said = ask(shop.host, 8080)
    assert said["user"] == int(shop.host.exec("id", "-u", shop.user).stdout) != 0
    assert [place for place in places if said[place] == "written"] == [f"{shop.root}/shared"]
    assert said["variables"]["HOME"] == f"{shop.root}/shared"
    before = shop.pids()
    again = shop.run_services()
    assert not again["changed"]
    assert shop.pids() == before
    shop.host.exec("kill", "-9", str(before["web"]))
    until("web is up again", lambda: shop.seen()["services"]["web"]["healthy"])
    assert shop.act("stop")["changed"]
    assert shop.seen()["processes"] == []


def test_a_crash_loop_is_given_up(shop: Driven) -> None:
    shop.release([{"name": "web", "command": ["python3", "-c", "exit('no such table')"]}], FILES)
    began = time.monotonic()

    told = shop.fail("run", health={"timeout": 60, "interval": 0.5, "success_threshold": 2})

    assert time.monotonic() - began < 15
    assert told["problem"]["code"] == "SERVICE_FAILED"
    assert "web: no such table" in told["problem"]["output"]


def test_systemd_is_refused_with_what_to_choose_instead(host: SshHost) -> None:
    other = Driven(host, "other")

    told = other.fail("prepare")

    assert told["problem"]["code"] == "TOOL_MISSING"
    assert "supervisor" in told["problem"]["hint"]
    other.act("remove")


def test_remove_leaves_nothing(host: SshHost) -> None:
    shop = Driven(host, "gone", runtime="supervisor")
    shop.act("prepare")
    shop.release([idle("worker")], FILES)
    shop.run_services()

    assert shop.act("remove")["changed"]

    seen = shop.seen()
    assert not seen["there"] and not seen["processes"]
    assert host.exec("getent", "passwd", shop.user, check=False).stdout == ""
    places = f"{shop.root} /run/deployer/{shop.name}-*"
    assert host.exec("sh", "-c", f"ls -d {places}", check=False).stdout == ""
