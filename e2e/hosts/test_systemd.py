"""Services under systemd, on a host that boots it; and what changes between the runtimes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from e2e.hosts.driven import FILES, Driven, ask, bring, idle, web
from e2e.hosts.fleet import lxd_host
from e2e.support import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.hosts.fleet import SshHost


def units(host: SshHost) -> list[str]:
    return host.exec(
        "sh", "-c", "cd /etc/systemd/system && find . -name 'deployer-*' | sort"
    ).stdout.split()


def reboot(host: SshHost) -> None:
    host.exec("sync")
    host.kill()
    host.start()


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    with lxd_host() as found:
        bring(found)
        yield found


@pytest.fixture
def shop(host: SshHost) -> Iterator[Driven]:
    """An environment that is prepared, and removed afterwards."""
    found = Driven(host, "shop")
    found.act("prepare")
    yield found
    found.act("remove")


pytestmark = pytest.mark.lxd


def test_services_come_up_healthy_and_a_second_start_leaves_them_alone(shop: Driven) -> None:
    shop.release([web(8080), idle("worker")], FILES)

    started = shop.run_services()
    assert started["changed"]
    titles = [substep["title"] for substep in started["substeps"]]
    assert titles == ["started web, worker", "web is healthy", "worker is healthy"]

    seen = shop.seen()
    assert seen["there"] and seen["prepared"]
    for service in seen["services"].values():
        assert service["state"] == "running" and service["release"] == 1
        assert service["healthy"] and abs(service["since"] - time.time()) < 60
    assert sorted(shop.pids().values()) == seen["processes"]
    again = shop.run_services()
    assert not again["changed"]
    assert {n: s["pid"] for n, s in seen["services"].items()} == shop.pids()
    assert not shop.act("prepare")["changed"]


def test_another_release_replaces_every_process_and_drops_a_service_it_lacks(shop: Driven) -> None:
    shop.release([web(8080), idle("worker")], FILES)
    shop.run_services()
    before = shop.pids()

    shop.release([web(8080)], FILES)
    assert shop.seen()["services"]["worker"]["problem"]
    shop.run_services()

    seen = shop.seen()
    assert set(seen["services"]) == {"web"}
    assert seen["services"]["web"]["release"] == 2
    assert seen["processes"] == [seen["services"]["web"]["pid"]]
    assert not set(seen["processes"]) & set(before.values())
    assert units(shop.host) == [
        "./deployer-shop-web.service",
        "./multi-user.target.wants/deployer-shop-web.service",
    ]


def test_a_start_that_was_killed_before_systemd_read_the_unit_is_made_good(shop: Driven) -> None:
    shop.release([web(8080)], FILES)
    shop.run_services()
    shop.release([web(8080)], FILES)
    unit = "/etc/systemd/system/deployer-shop-web.service"
    shop.host.exec("sed", "-i", "s/launch.py web 1/launch.py web 2/", unit)

    shop.run_services()

    assert shop.seen()["services"]["web"]["release"] == 2


def test_a_crash_loop_is_given_up_and_told_with_what_the_service_wrote(shop: Driven) -> None:
    crash = {"name": "web", "command": ["sh", "-c", "echo 'no such table' >&2; exit 1"]}
    shop.release([crash], FILES)
    began = time.monotonic()

    told = shop.fail("run", health={"timeout": 60, "interval": 0.5, "success_threshold": 2})

    assert time.monotonic() - began < 15
    assert told["problem"]["code"] == "SERVICE_FAILED"
    assert told["msg"] == "web: it exited too often, last with status 1"
    assert "web: no such table" in told["problem"]["output"]
    assert shop.seen()["services"]["web"]["state"] == "failed"


def test_a_service_that_was_given_up_comes_back_with_the_next_start(shop: Driven) -> None:
    # it fails as long as a file lies in shared/
    flag = f"{shop.root}/shared/broken"
    # a shell: it ends within the second after which a process counts as up, however busy it is here
    script = f"[ -e {flag} ] && exit 3; exec sleep 10000"
    shop.release([{"name": "web", "command": ["sh", "-c", script]}], FILES)
    shop.host.exec("touch", flag)
    shop.fail("run")

    shop.host.exec("rm", flag)
    shop.run_services()

    assert shop.seen()["services"]["web"]["healthy"]


def test_a_unit_that_cannot_be_started_is_told_with_what_systemd_says(shop: Driven) -> None:
    shop.release([web(8080)], FILES)
    shop.host.exec("rm", "-rf", f"{shop.root}/shared")  # the unit's namespace needs it

    told = shop.fail("run")

    assert told["problem"]["code"] == "SERVICE_FAILED"
    assert any("namespac" in line for line in told["problem"]["output"]), told
    shop.act("prepare")
    shop.run_services()


def test_a_killed_service_is_started_again_by_itself(shop: Driven) -> None:
    shop.release([web(8080)], FILES)
    shop.run_services()
    before = shop.pids()["web"]

    shop.host.exec("kill", "-9", str(before))

    until("it is healthy again", lambda: shop.seen()["services"]["web"]["healthy"])
    assert shop.pids()["web"] != before


def test_a_reboot_brings_services_back_until_they_are_stopped(shop: Driven) -> None:
    shop.release([web(8080), idle("worker")], FILES)
    shop.run_services()

    reboot(shop.host)
    until("web is healthy", lambda: shop.seen()["services"]["web"]["healthy"])
    assert shop.seen()["services"]["worker"]["release"] == 1
    assert shop.act("stop")["changed"]
    assert not shop.act("stop")["changed"]
    assert {s["state"] for s in shop.seen()["services"].values()} == {"down"}
    reboot(shop.host)

    shop.host.exec("systemctl", "is-system-running", "--wait", check=False)
    assert shop.seen()["processes"] == []
    shop.run_services()
    assert shop.seen()["services"]["web"]["healthy"]


def test_a_service_is_its_own_user_and_writes_where_it_may_alone(shop: Driven) -> None:
    places = [f"{shop.root}/{name}" for name in ("shared", "logs", "runtime", "releases/1", "")]
    # open to all, but for its unit
    shop.host.exec("mkdir", "--mode=777", f"{shop.root}/open", "/opt/open")
    places += ["/etc", "/var/lib", "/home", "/tmp", f"{shop.root}/open", "/opt/open"]
    shop.release([web(80, *places)], FILES)
    shop.run_services()

    said = ask(shop.host, 80)

    assert said["user"] == int(shop.host.exec("id", "-u", shop.user).stdout) != 0
    assert {place for place in places if said[place] == "written"} == {
        f"{shop.root}/shared",
        "/tmp",
    }
    for folder, owner in (("shared", shop.user), ("logs", "root"), ("runtime", "root")):
        stat = shop.host.exec("stat", "--format", "%U", f"{shop.root}/{folder}")
        assert stat.stdout.strip() == owner, folder
    assert shop.host.exec("ls", "/tmp/written", check=False).returncode  # its /tmp is its own
    status = shop.host.exec("cat", f"/proc/{shop.pids()['web']}/status").stdout
    assert "NoNewPrivs:\t1" in status
    read = shop.host.exec("runuser", "-u", shop.user, "cat", f"{shop.root}/current/private.txt")
    assert read.stdout == "for the service alone"


def test_values_arrive_as_they_are_whatever_systemd_would_make_of_them(shop: Driven) -> None:
    odd = "100% %n %H $HOME ${PATH} \"quoted' \\ \t; # \n second line"
    shop.release([web(8080, odd, ODD_TOO=odd)], FILES)
    shop.run_services()

    said = ask(shop.host, 8080)

    assert said["arguments"] == [odd]
    assert said["variables"]["ODD_TOO"] == odd
    assert said["variables"]["ODD"] == shop.spec()["variables"]["ODD"]
    assert said["variables"]["HOME"] == f"{shop.root}/shared"


def test_a_user_that_was_lost_gets_its_data_back_under_another_number(shop: Driven) -> None:
    shop.release([web(8080, f"{shop.root}/shared")], FILES)
    shop.run_services()
    ask(shop.host, 8080)
    shop.act("stop")
    shop.host.exec("userdel", shop.user)
    shop.host.exec("useradd", "--system", "taker")  # of its number
    assert not shop.seen()["prepared"]

    shop.act("prepare")
    shop.run_services()

    assert ask(shop.host, 8080)[f"{shop.root}/shared"] == "written"
    for path in ("shared", "shared/written", "current/private.txt"):
        stat = shop.host.exec("stat", "--format", "%U", f"{shop.root}/{path}")
        assert stat.stdout.strip() == shop.user, path
    assert not shop.act("prepare")["changed"]
    shop.host.exec("userdel", "taker")


def test_a_health_command_runs_as_the_services_user(shop: Driven) -> None:
    service = {**idle("web"), "health": {"command": ["sh", "-c", 'touch "$HOME/checked"']}}
    shop.release([service], FILES)

    shop.run_services()

    stat = shop.host.exec("stat", "--format", "%U", f"{shop.root}/shared/checked")
    assert stat.stdout.strip() == shop.user


def test_a_program_that_overwrites_its_environment_is_known_all_the_same(shop: Driven) -> None:
    shop.release([{"name": "web", "command": ["python3", "title.py"]}], FILES)

    shop.run_services()

    pid = shop.pids()["web"]
    assert "DEPLOYER_RELEASE" not in shop.host.exec("cat", f"/proc/{pid}/environ").stdout
    assert shop.seen()["services"]["web"]["release"] == 1
    assert shop.seen()["processes"] == [pid]


def test_what_forked_away_ends_with_the_services(shop: Driven) -> None:
    shop.release([{"name": "web", "command": ["python3", "fork.py"]}], FILES)
    shop.run_services()
    away = ("pgrep", "-f", "^sleep 4711")
    until("it has forked", lambda: shop.host.exec(*away, check=False).stdout)

    shop.act("stop")

    assert shop.host.exec(*away, check=False).stdout == ""


def test_a_service_whose_unit_was_deleted_is_stopped_all_the_same(shop: Driven) -> None:
    shop.release([idle("web")], FILES)
    shop.run_services()
    shop.host.exec("rm", "/etc/systemd/system/deployer-shop-web.service")

    assert shop.act("stop")["changed"]

    assert shop.seen()["processes"] == []
    state = shop.host.exec("systemctl", "is-active", "deployer-shop-web.service", check=False)
    assert state.stdout == "inactive\n"  # nor will it be started again in a moment


def test_units_of_an_environment_whose_name_begins_alike_are_not_touched(shop: Driven) -> None:
    other = Driven(shop.host, "shop-web")
    other.act("prepare")
    other.release([idle("x")], FILES)
    other.run_services()
    before = other.pids()
    shop.release([web(8080)], FILES)
    shop.run_services()
    assert set(shop.seen()["services"]) == {"web"}

    shop.act("stop")
    shop.act("remove")

    assert other.pids() == before and other.seen()["services"]["x"]["healthy"]
    shop.act("prepare")
    shop.release([idle("web-x")], FILES)  # which would be the other's unit
    told = shop.fail("run")
    assert "deployer-shop-web-x.service is not this environment's" in told["msg"]
    assert other.pids() == before
    other.act("remove")


def test_remove_leaves_nothing_and_can_be_repeated(host: SshHost) -> None:
    shop = Driven(host, "gone")
    shop.act("prepare")
    shop.release([web(8080), {"name": "fork", "command": ["python3", "fork.py"]}], FILES)
    shop.run_services()

    assert shop.act("remove")["changed"]

    seen = shop.seen()
    assert not seen["there"] and not seen["prepared"] and not seen["processes"]
    assert units(host) == []
    assert host.exec("getent", "passwd", shop.user, check=False).stdout == ""
    assert host.exec("getent", "group", shop.user, check=False).stdout == ""
    known = host.exec("systemctl", "list-units", "--all", "--plain", "--no-legend", "deployer-*")
    assert "gone" not in known.stdout and shop.uuid.replace("-", "") not in known.stdout
    places = f"{shop.root} /run/deployer/{shop.name}-* /etc/logrotate.d/deployer-{shop.name}"
    assert host.exec("sh", "-c", f"ls -d {places}", check=False).stdout == ""
    assert not shop.act("remove")["changed"]


def test_a_host_tells_what_it_lacks_and_who_has_a_port(shop: Driven) -> None:
    shop.release([web(8080)], FILES)
    shop.run_services()

    first = shop.act("prepare", packages=["python3", "no-such-package"])
    listening = shop.seen(ports=[22, 8080, 8081])["listening"]

    assert first["missing"] == ["no-such-package"] and not first["changed"]
    assert shop.act("prepare", packages=["python3"])["missing"] == []
    assert listening["22"].startswith("sshd (pid ")
    assert listening["8080"] is None and listening["8081"] is None


def test_another_runtime_takes_the_services_over_and_gives_them_back(shop: Driven) -> None:
    shop.release([web(8080), idle("worker")], FILES)
    shop.run_services()
    before = set(shop.pids().values())
    shop.runtime = "supervisor"
    missing = shop.fail("prepare")
    assert missing["problem"]["code"] == "TOOL_MISSING" and missing["problem"]["hint"]
    shop.host.exec("apt-get", "update", "--quiet")
    shop.host.exec("apt-get", "install", "--quiet", "--yes", "supervisor")
    shop.act("prepare")

    shop.run_services()

    seen = shop.seen()
    assert all(service["healthy"] for service in seen["services"].values())
    assert not before & set(seen["processes"])
    assert ask(shop.host, 8080)["user"] == int(shop.host.exec("id", "-u", shop.user).stdout)
    assert not [unit for unit in units(shop.host) if "wants" in unit]
    by_supervisor = set(seen["processes"])
    again = shop.run_services()
    assert not again["changed"]

    shop.runtime = "systemd"
    shop.run_services()

    seen = shop.seen()
    assert all(service["healthy"] for service in seen["services"].values())
    assert not by_supervisor & set(seen["processes"]) and len(seen["processes"]) == 2


def test_stop_ends_what_a_runtime_of_before_has_up(shop: Driven) -> None:
    shop.release([idle("web")], FILES)
    shop.run_services()
    shop.runtime = "supervisor"

    assert shop.act("stop")["changed"]

    assert shop.seen()["processes"] == []
    assert not [unit for unit in units(shop.host) if "wants" in unit]
