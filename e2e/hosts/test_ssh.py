"""Hosts that the user has already: deployed to, looked at, left; one of them silent or dying."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.hosts.fleet import SshHost, docker_host, supervised
from e2e.hosts.own import (
    Watch,
    connections,
    create,
    holding,
    listing,
    logins,
    machines,
    table,
    unique,
    write,
)
from e2e.support import DEPLOYER, Environment, Site, fetch, replace, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.docker

GREETING = "(echo 'echo welcome to this machine'; cat /root/.bashrc) >/x; mv /x /root/.bashrc"


@dataclass
class Group:
    """Three hosts with the guestbook on them; `c`'s shell greets whoever comes."""

    environment: Environment
    a: SshHost
    b: SshHost
    c: SshHost

    @property
    def tables(self) -> list[dict[str, object]]:
        return [
            table(self.a, name="a", groups=["front"]),
            table(self.b, name="b", groups=["back"]),
            table(self.c, name="c", groups=["back", "slow"]),
        ]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    site = Site(tmp_path_factory.mktemp("group"))
    app = site.own_app()
    with machines(3) as (a, b, c):
        c.exec("sh", "-c", GREETING)
        found = Group(Environment(site, unique()), a, b, c)
        write(site, found.environment.name, found.tables, app=f"./{app.name}")
        found.environment("create")
        yield found  # the hosts go, and with them all that is on them


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A workspace whose hosts go when the test ends."""
    return Site(tmp_path)


@pytest.fixture
def group(deployed: Group) -> Iterator[Group]:
    """The three hosts, running and with nothing left to do."""
    deployed.environment("deploy")
    yield deployed
    for host in (deployed.a, deployed.b, deployed.c):
        if not host.answers():  # a test that failed left it dead
            host.start()


def test_a_command_runs_on_all_on_one_or_on_a_group(group: Group) -> None:
    def ran(*options: str, code: int = 0) -> dict[str, tuple[int, str]]:
        found = group.environment("exec", *options, code=code).data["hosts"]
        return {name: (said["code"], said["stdout"].split()[-1]) for name, said in found.items()}

    name = {host: getattr(group, host).name for host in "abc"}
    assert ran("--", "hostname") == {host: (0, name[host]) for host in "abc"}
    assert ran("--host", "b", "--", "hostname") == {"b": (0, name["b"])}
    assert ran("--group", "back", "--", "hostname") == {h: (0, name[h]) for h in "bc"}
    script = 'hostname; case $(hostname) in "$1") exit 3;; "$2") exit 7;; esac'
    codes = ran("--", "sh", "-c", script, "sh", name["a"], name["b"], code=7)
    assert [code for code, _ in codes.values()] == [3, 7, 0]
    assert ran("--host", "c", "--", "sh", "-c", "echo own words; exit 255", code=255) == {
        "c": (255, "words")
    }
    group.environment("exec", "--group", "nowhere", "--", "true", code=4)


def test_a_shell_opens_on_the_host_that_is_named(group: Group) -> None:
    site, name = group.environment.site, group.environment.name
    done = subprocess.run(
        [str(DEPLOYER), "-C", str(site.root), "ssh", name, "b"],
        input="hostname\n",
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert group.b.name in done.stdout.split()


def test_status_and_logs_tell_of_every_host(group: Group) -> None:
    with ThreadPoolExecutor() as pool:
        status = pool.submit(group.environment, "status")
        logs = pool.submit(group.environment, "logs", "web")
    assert status.result().data["healthy"]
    assert set(status.result().data["seen"]) == {"a", "b", "c"}
    assert {line["host"] for line in logs.result().data["lines"]} == {"a", "b", "c"}


def test_a_deploy_with_nothing_to_do_connects_once_to_each_host_and_hangs_up(group: Group) -> None:
    before = [logins(host) for host in (group.a, group.b, group.c)]

    done = group.environment("deploy")

    assert done.verbs == []
    assert [logins(host) for host in (group.a, group.b, group.c)] == [n + 1 for n in before]
    assert connections(group.environment) == []


def test_a_silent_host_is_named_and_the_others_are_shown(group: Group) -> None:
    group.b.pause()
    try:
        with ThreadPoolExecutor() as pool:
            calls = {
                "deploy": pool.submit(group.environment, "deploy", code=10),
                "status": pool.submit(group.environment, "status"),
                "check": pool.submit(group.environment, "check", code=8),
                "logs": pool.submit(group.environment, "logs", code=10),
                "exec": pool.submit(group.environment, "exec", "--", "true", code=255),
            }
        found = {verb: call.result() for verb, call in calls.items()}
    finally:
        group.b.unpause()

    error = found["deploy"].error
    assert (error["code"], error["host"]) == ("CONNECTION_TIMEOUT", "b")
    assert "a answers" in found["deploy"].stderr
    assert "firewall" in error["hint"]
    assert error["resume"].endswith(f"deploy {group.environment.name}")
    status = found["status"].data
    assert (set(status["unreachable"]), set(status["seen"])) == ({"b"}, {"a", "c"})
    assert not status["healthy"]
    [difference] = found["check"].data["differences"]
    assert (difference["what"], difference["host"]) == ("unreachable", "b")
    assert "firewall" in difference["message"]
    assert found["logs"].error["host"] == "b"
    assert {n: said["code"] for n, said in found["exec"].data["hosts"].items()} == {
        "a": 0,
        "b": 255,
        "c": 0,
    }
    assert group.environment.record.state == "running"
    assert group.environment("deploy").verbs == []


def test_a_signal_ends_a_look_at_hosts_at_once(group: Group) -> None:
    environment = group.environment
    group.b.pause()
    try:
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            running = start(environment, "deploy", environment.name)
            until("it waits for a host", lambda: connections(environment))
            running.send_signal(number)
            assert running.wait(timeout=5) == code
            assert connections(environment) == []
    finally:
        group.b.unpause()


def test_a_signal_ends_a_command_on_hosts_at_once(group: Group) -> None:
    environment = group.environment
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        sleep = ("sleep", f"6{number}")
        running = start(environment, "exec", environment.name, "--", *sleep)
        until(
            "it runs there",
            lambda words=sleep: " ".join(words) in group.b.exec("ps", "-eo", "args").stdout,
        )
        running.send_signal(number)
        assert running.wait(timeout=5) == code
        assert connections(environment) == []


def test_hosts_are_dropped_and_added_and_die_meanwhile(group: Group) -> None:
    environment = group.environment
    uuid, app = environment.uuid, "./app"

    write(environment.site, environment.name, group.tables[1:], app=app)
    environment("deploy")

    assert group.a.exec("ls", "/srv/deployer").stdout == ""
    assert "python" not in group.a.exec("ps", "-eo", "comm").stdout
    assert uuid[:8] not in group.a.exec("cat", "/etc/passwd").stdout
    status = environment("status").data
    assert (set(status["seen"]), status["healthy"]) == ({"b", "c"}, True)

    # the one that comes back is served, though another dies meanwhile
    web = environment.site.root / "app" / "web.py"
    text = web.read_text()
    replace(web, "\nimport book\n", "\nimport book\n\ntime.sleep(5)\n")
    write(environment.site, environment.name, group.tables, app=app)
    running = start(environment, "deploy", environment.name, "--output", "json")
    until("its services start", lambda: environment.record.state == "starting", 120)
    until("they wait", lambda: "web.py" in group.b.exec("ps", "-eo", "args").stdout, 120)

    group.b.kill()

    told, _ = running.communicate(timeout=120)
    assert running.returncode == 40, told
    assert json.loads(told)["error"]["host"] == "b"
    assert environment.record.state == "run_failed"
    group.b.start()
    web.write_text(text)
    environment("deploy")
    status = environment("status").data
    assert (set(status["seen"]), status["healthy"]) == ({"a", "b", "c"}, True)
    assert "Guestbook" in fetch(f"http://{group.a.address}:{port(environment)}/")


def start(environment: Environment, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(DEPLOYER), "-C", str(environment.site.root), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def port(environment: Environment) -> int:
    return int(environment.record.config["settings"]["port"])


# ---- one host


def test_a_users_sudo_password_opens_the_host_and_stays_nowhere(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "it's {{ 1 }} \"%d $HOME\\ pass"
    monkeypatch.setenv("TEST_SUDO", password)
    (site.root / "secret").write_text(password + "\n")
    with docker_host(supervised(), sudo="password") as host:
        host.exec("sh", "-c", 'printf "%s" "$1" | chpasswd', "sh", f"admin:{password}")
        watch = Watch(password).start()
        by_variable = {"env": "TEST_SUDO"}
        environment = create(site, [table(host, name="a")], sudo_password=by_variable)
        environment("provision")
        by_command = {"command": ["cat", "secret"]}
        write(site, environment.name, [table(host, name="a")], sudo_password=by_command)

        environment("deploy")

        assert "Guestbook" in fetch(f"http://{host.address}:{port(environment)}/")
        assert environment("deploy").verbs == []
        # where none is asked for, it is no harm
        host.exec("sh", "-c", "echo 'admin ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/test")
        environment("provision")

        told = environment("history").stdout + environment("show").stdout
        assert password not in told
        assert "{{ 1 }}" not in told
        (site.root / "secret").unlink()
        private = Path(tempfile.gettempdir()) / f"deployer-{os.getuid()}"
        assert holding(password, site.root, private, Path.home() / ".ansible") == []
        assert host.exec("grep", "-rlF", "{{ 1 }}", "/srv", "/tmp", check=False).stdout == ""
        (site.root / "secret").write_text(password)
        environment("destroy", "--yes")
        assert watch.stop() == set()


def test_provision_changes_nothing_on_a_host(site: Site) -> None:
    with docker_host() as host:
        environment = create(site, [table(host)])
        host.ssh("sudo -n true")  # what logging in for the first time leaves is no change of ours
        before = listing(host)

        environment("provision")
        environment("provision")

        assert listing(host) == before
        assert environment("show").data["hosts"][0]["address"] == host.address
