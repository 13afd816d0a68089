"""The hosts that other tests rely on are what they claim to be."""

from __future__ import annotations

import pytest

from e2e.hosts.fleet import docker_host, lxd_host


@pytest.mark.lxd
def test_lxd_hosts_run_systemd_and_each_has_its_own_host_key() -> None:
    with lxd_host() as one, lxd_host(user="root") as other:
        assert one.ssh("systemctl is-system-running").stdout == "running\n"
        assert one.ssh("sudo -n id -un && hostname").stdout == f"root\n{one.name}\n"
        assert other.ssh("id -un && ps -o comm= 1").stdout == "root\nsystemd\n"
        assert one.host_key != other.host_key


@pytest.mark.lxd
def test_a_cloud_host_does_as_its_user_data_say() -> None:
    data = "#cloud-config\nwrite_files: [{path: /etc/motd, content: from the cloud}]\n"
    with lxd_host("debian/12-cloud", options=("-c", f"user.user-data={data}")) as host:
        assert "status: done" in host.exec("cloud-init", "status", "--wait").stdout
        assert host.ssh("cat /etc/motd").stdout == "from the cloud"


@pytest.mark.lxd
def test_an_lxd_host_comes_back_from_a_power_cut() -> None:
    with lxd_host() as host:
        key = host.host_key
        host.kill()
        assert not host.answers()
        host.start()
        assert host.ssh("id -un").stdout == "admin\n"
        assert host.host_key == key


@pytest.mark.docker
def test_docker_hosts_answer_and_each_has_its_own_host_key() -> None:
    with docker_host() as one, docker_host(user="root", sudo="none") as other:
        assert one.ssh("sudo -n id -un && hostname").stdout == f"root\n{one.name}\n"
        assert other.ssh("id -un; python3 -c 'print(42)'").stdout == "root\n42\n"
        assert one.host_key != other.host_key


@pytest.mark.docker
def test_a_docker_host_freezes_and_dies_when_told() -> None:
    with docker_host() as host:
        host.pause()
        assert not host.answers()
        host.unpause()
        assert host.answers()
        host.kill()
        assert not host.answers()
        host.start()
        assert host.ssh("id -un").stdout == "admin\n"


@pytest.mark.docker
@pytest.mark.parametrize(
    ("image", "lacks", "has"),
    [("nopython", "python3", "sudo"), ("nosudo", "sudo", "python3")],
)
def test_a_host_lacks_what_its_image_says(image: str, lacks: str, has: str) -> None:
    with docker_host(f"deployer-host:{image}", sudo="none") as host:
        assert host.ssh(f"command -v {has}").stdout
        assert host.ssh(f"command -v {lacks}", check=False).returncode != 0


@pytest.mark.docker
def test_sudo_asks_for_the_password_where_it_is_told_to() -> None:
    with docker_host(sudo="password") as host:
        assert host.ssh("sudo -n id -un", check=False).returncode != 0
        asked = host.ssh(f"echo {host.sudo_password} | sudo -S -p '' id -un")
        assert asked.stdout == "root\n"
    with docker_host(sudo="none") as host:
        assert host.ssh("sudo -n id -un", check=False).returncode != 0
