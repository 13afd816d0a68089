"""What may be wrong with hosts, or with how one gets in: each is said, and mended."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from e2e.hosts.fleet import docker_host, docker_network, supervised
from e2e.hosts.own import connections, create, machines, table, unique, write
from e2e.support import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.hosts.fleet import SshHost, Sudo

pytestmark = pytest.mark.docker


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A workspace whose hosts go when the test ends, and with them all that is on them."""
    return Site(tmp_path)


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    """A host that root may use, and `admin` with the password `right`."""
    with docker_host(sudo="password") as found:
        found.exec("sh", "-c", "echo admin:right | chpasswd; cp -r /home/admin/.ssh /root/")
        found.exec("chown", "-R", "root:root", "/root/.ssh")
        yield found


def test_what_is_wrong_is_told_apart_host_by_host_and_mended(
    site: Site, host: SshHost, tmp_path_factory: pytest.TempPathFactory
) -> None:
    keys = tmp_path_factory.mktemp("keys of % tests")
    (keys / "open").write_text(host.key.read_text())
    (keys / "open").chmod(0o644)
    (keys / "right").write_text(host.key.read_text())
    (keys / "right").chmod(0o600)
    other = keys / "other"
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", str(other)], check=True)
    wrong = {
        "other-key": ({"key": str(other)}, "AUTHENTICATION_FAILED", "authorized_keys"),
        "open-key": ({"key": str(keys / "open")}, "AUTHENTICATION_FAILED", "chmod 600"),
        "no-key": ({"key": "nowhere/id"}, "AUTHENTICATION_FAILED", "There is no key"),
        "user": ({"user": "nobody-here"}, "AUTHENTICATION_FAILED", "Check the user"),
        "port": ({"port": 2222}, "CONNECTION_REFUSED", "nothing listens on"),
        "address": ({"address": "no-such-host.invalid"}, "HOST_UNREACHABLE", "resolved"),
        "jump": ({"jump": "root@127.0.0.1:1"}, "CONNECTION_REFUSED", "jump host 127.0.0.1:1"),
        "sudo": ({"user": "admin"}, "HOST_UNUSABLE", "sudo_password"),
    }
    right = table(host, user="root", key=str(keys / "right"))
    hosts = [{**right, "name": name, **given} for name, (given, _, _) in wrong.items()]
    environment = create(site, [{**right, "name": "fine"}, *hosts])

    done = environment("provision", code=10)

    failures = {one["host"]: one for one in done.error["details"]["failures"]}
    assert failures.keys() == wrong.keys()
    for name, (_, code, said) in wrong.items():
        assert failures[name]["code"] == code, failures[name]
        assert said in f"{failures[name]['message']} {failures[name]['hint']}"
        assert f"{name}: {failures[name]['message']}" in done.error["message"]
    assert f"SSH answers on {host.address}" in done.stderr  # on the one that is fine
    assert done.error["resume"].endswith(f"provision {environment.name}")
    assert environment.record.state == "created"
    write(site, environment.name, [{**right, "name": name} for name in ("fine", *wrong)])
    environment("provision")
    assert connections(environment) == []


def test_a_wrong_sudo_password_is_refused_and_mended(site: Site, host: SshHost) -> None:
    (site.root / "secret").write_text("hunter2")
    environment = create(site, [table(host, name="a")], sudo_password={"file": "secret"})
    done = environment("provision", code=10)
    assert (done.error["code"], done.error["host"]) == ("HOST_UNUSABLE", "a")
    assert "admin may not use sudo: the password is refused" in done.error["message"]
    (site.root / "secret").unlink()
    assert environment("provision", code=10).error["code"] == "SECRET_MISSING"
    (site.root / "secret").write_text("right")
    environment("provision")
    assert "hunter2" not in done.stdout + done.stderr


def test_a_host_that_nobody_answers_for_is_told_from_one_that_refuses(site: Site) -> None:
    with docker_host() as host:
        environment = create(site, [table(host, name="a"), table(host, name="b", port=23)])
        host.pause()
        try:
            error = environment("provision", code=10).error
        finally:
            host.unpause()
    assert error["details"]["hosts"] == ["a", "b"]
    assert "a: " in error["message"]
    assert "doesn't answer within" in error["message"]
    assert "b: nothing listens on" in error["message"]


@pytest.mark.parametrize(
    ("image", "said"),
    [("nosudo", "there is no sudo"), ("nopython", "there is no Python 3")],
)
def test_what_a_host_lacks_is_said(site: Site, image: str, said: str) -> None:
    sudo: Sudo = "none" if image == "nosudo" else "nopasswd"
    with docker_host(f"deployer-host:{image}", sudo=sudo) as host:
        environment = create(site, [table(host, name="a")])
        error = environment("provision", code=10).error
    assert (error["code"], error["host"]) == ("HOST_UNUSABLE", "a")
    assert said in error["message"]
    assert "apt-get install" in error["hint"] or "Install sudo" in error["hint"]


def test_a_host_without_room_is_refused_before_anything_is_written(site: Site) -> None:
    with docker_host(user="root", options=("--tmpfs", "/srv:size=1m")) as host:
        environment = create(site, [table(host, name="a")])
        error = environment("provision", code=10).error
        assert host.exec("ls", "-A", "/srv").stdout == ""
    assert (error["code"], error["host"]) == ("HOST_UNUSABLE", "a")
    assert "MB are free" in error["message"]


def test_another_host_key_is_refused_until_it_is_forgotten_as_the_hint_says(site: Site) -> None:
    with docker_host() as host:
        environment = create(site, [table(host, name="a")])
        environment("provision")
        host.exec("sh", "-c", "rm /etc/ssh/ssh_host_*; ssh-keygen -A; kill -HUP $(pgrep -o sshd)")
        host.wait()

        error = environment("deploy", code=10).error

        assert (error["code"], error["host"]) == ("HOST_KEY_CHANGED", "a")
        assert environment.record.state == "provisioned"
        forget = error["hint"].split("forget its key: ")[1].split(", then")[0]
        subprocess.run(forget, shell=True, check=True, capture_output=True)
        environment("provision")


def test_a_root_of_another_environment_is_left_alone(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Site(tmp_path_factory.mktemp("other"))
    with docker_host(supervised()) as host:
        first = create(site, [table(host, name="a")])
        first("provision")
        first("configure")
        second = write(other, first.name, [table(host, name="a")])
        second("create")
        second("provision")

        error = second("configure", code=20).error

        assert (error["code"], error["host"]) == ("FOREIGN_ROOT", "a")
        assert first.uuid in error["message"]
        owner = host.exec("cat", f"/srv/deployer/{first.name}/owner.json").stdout
        assert first.uuid in owner
        second("destroy", "--yes", code=50)
        assert host.exec("cat", f"/srv/deployer/{first.name}/owner.json").stdout == owner
        first("destroy", "--yes")
        second("destroy", "--yes")


def test_a_host_that_will_never_answer_is_abandoned_by_name(site: Site) -> None:
    with machines(2) as (one, other):
        environment = create(site, [table(one, name="a"), table(other, name="b")])
        environment("provision")
        environment("configure")
        other.kill()

        error = environment("destroy", "--yes", code=50).error

        assert error["host"] == "b"
        assert "--abandon b" in error["hint"]
        assert environment.record.state == "destroy_failed"
        environment("destroy", "--yes", "--abandon", "nobody", code=2)
        environment("destroy", "--yes", "--abandon", "b")
        assert one.exec("ls", "/srv/deployer").stdout == ""
        assert "--abandon b" in environment.operations[-1]["command"]
        assert connections(environment) == []


def test_a_host_behind_another_is_reached_through_it_and_both_keys_are_pinned(site: Site) -> None:
    with docker_network("--internal") as (network, prefix):
        inside = ("--network", network, "--ip", f"{prefix}.11")
        with docker_host(supervised(), options=inside) as hidden, docker_host() as jump:
            # a name that only the jump host knows, and a door that only it may come through
            jump.exec("sh", "-c", f"echo {hidden.address} hidden.inside >>/etc/hosts")
            subprocess.run(["docker", "network", "connect", network, jump.name], check=True)
            place = f"{prefix}.0/24"
            hidden.exec("sh", "-c", f"echo 'AllowUsers admin@{place}' >>/etc/ssh/sshd_config")
            hidden.exec("sh", "-c", f"echo 'DenyUsers admin@{prefix}.1' >>/etc/ssh/sshd_config")
            hidden.exec("sh", "-c", "kill -HUP $(pgrep -o sshd)")
            hidden.wait()
            assert hidden.ssh("true", check=False).returncode == 255
            public = hidden.key.with_suffix(".pub").read_text()
            jump.exec("sh", "-c", f"echo '{public}' >>/home/admin/.ssh/authorized_keys")
            way = table(hidden, name="a", address="hidden.inside", jump=f"admin@{jump.address}")
            environment = write(site, unique(), [way])
            environment("create")

            environment("deploy")

            pins = (environment.folder / "known_hosts").read_text().splitlines()
            assert {line.split()[0] for line in pins} == {"a", f"jump-{jump.address}"}
            jump.exec("sh", "-c", "rm /etc/ssh/ssh_host_*; ssh-keygen -A")
            jump.exec("sh", "-c", "kill -HUP $(pgrep -o sshd)")
            jump.wait()
            error = environment("deploy", code=10).error
            assert error["code"] == "HOST_KEY_CHANGED"
            assert f"ssh-keygen -R jump-{jump.address}" in error["hint"]
            forget = error["hint"].split("forget its key: ")[1].split(", then")[0]
            subprocess.run(forget, shell=True, check=True, capture_output=True)
            environment("destroy", "--yes")
            assert connections(environment) == []
