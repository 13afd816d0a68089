"""Deployer run by a user who is not root, with a systemd of their own; as cron would run it."""

from __future__ import annotations

import subprocess
import sysconfig
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from e2e.hosts.fleet import SshHost, lxd_host
from e2e.support import ROOT, Outcome, until

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "dora"
UID = "1000"
# what systemd and logrotate would expand, split or take out
WORKSPACE = f'/home/{USER}/it\'s "my" [work] 100% $HOME \\n #;'
UNITS = f"/home/{USER}/.config/systemd/user"
# the package libpam-systemd, which hosts of the tests have not, would set that variable
INSTALL = """
mkdir /etc/systemd/system/user@.service.d
printf '[Service]\\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\\n' \\
    >/etc/systemd/system/user@.service.d/test.conf
systemctl daemon-reload
systemctl start "user@$1"  # as a login does
python3 -m venv --without-pip /opt/deployer
printf '/opt/source\\n/opt/packages\\n' >/opt/deployer/lib/python3.11/site-packages/deployer.pth
entry() {
    printf '#!/opt/deployer/bin/python3\\nfrom %s import main\\nmain()\\n' "$2" >"$1"
    chmod 755 "$1"
}
entry /opt/deployer/bin/deployer commands.main
entry /opt/deployer/bin/ansible-playbook ansible.cli.playbook
"""


@dataclass
class Machine:
    """A machine, and its user's workspace with one environment."""

    host: SshHost
    deployed: str = ""
    """What the first deploy told."""

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command as the user, without a login and what that would set."""
        become = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups")
        variables = ("env", "-i", f"HOME=/home/{USER}", "PATH=/usr/bin:/bin")
        return self.host.exec(*become, *variables, *command, check=check)

    def __call__(self, *arguments: str, code: int = 0) -> Outcome:
        """Run deployer as the user."""
        program = ("/opt/deployer/bin/deployer", "-C", WORKSPACE, "--output", "json")
        done = self.run(*program, *arguments, check=False)
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return Outcome(done.returncode, done.stdout, done.stderr)

    def services(self) -> dict[str, tuple[int, bool]]:
        """(release, whether it is healthy) of each service."""
        seen = self("status", "shop").data["seen"]
        return {
            name: (service["release"], service["healthy"])
            for host in seen.values()
            for name, service in host["services"].items()
        }

    def units(self) -> list[str]:
        """The files below the folder of the user's units."""
        found = self.run("find", UNITS, "-name", "deployer*", check=False)
        return sorted(line.rpartition("/")[2] for line in found.stdout.splitlines())


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    packages = sysconfig.get_path("purelib")
    if sysconfig.get_python_version() != "3.11":
        pytest.skip("the hosts have Python 3.11: they can't use this one's packages")
    with lxd_host(user=USER, sudo="none") as host:
        for name, source in (("source", str(ROOT)), ("packages", packages)):
            place = (f"source={source}", f"path=/opt/{name}", "readonly=true")
            add = ["lxc", "config", "device", "add", host.name, name, "disk", *place]
            subprocess.run(add, check=True, capture_output=True, timeout=60)
        host.exec("sh", "-ec", INSTALL, "sh", UID)
        found = Machine(host)
        found.run("mkdir", "-p", f"{WORKSPACE}/apps")
        found.run("cp", "-r", "/opt/source/templates/apps/guestbook", f"{WORKSPACE}/apps/")
        found("create", "shop")
        found.deployed = found("deploy", "shop").stderr
        yield found


pytestmark = pytest.mark.lxd


def test_services_are_units_of_the_user_and_come_back_after_a_crash_and_a_reboot(
    machine: Machine,
) -> None:
    assert machine("show", "shop").data["runtime"] == "systemd"
    assert machine.services() == {"web": (1, True), "worker": (1, True)}
    twice = [
        "deployer-shop-web.service",
        "deployer-shop-worker.service",
        "deployer_logs-shop.timer",
    ]
    assert machine.units() == sorted([*twice, *twice, "deployer_logs-shop.service"])

    assert f"! services end when {USER} logs out of localhost" in machine.deployed
    assert f"loginctl enable-linger {USER}" in machine.deployed

    machine.host.exec("pkill", "-9", "-f", "web.py")
    until("web is healthy again", lambda: machine.services()["web"] == (1, True))

    machine.host.exec("loginctl", "enable-linger", USER)
    machine.host.exec("sync")
    machine.host.kill()
    machine.host.start()
    until("both are back", lambda: all(up for _, up in machine.services().values()))


def test_an_upgrade_replaces_every_process(machine: Machine) -> None:
    machine.run("sed", "-i", "$a # new", f"{WORKSPACE}/apps/guestbook/worker.py")

    machine("upgrade", "shop")

    assert machine.services() == {"web": (2, True), "worker": (2, True)}


def test_logs_are_rotated_by_the_user_s_own_timer(machine: Machine) -> None:
    log = f"{WORKSPACE}/.deployer/environments/shop/host/logs/web.log"
    machine.run("sh", "-c", 'head -c 11000000 /dev/zero >>"$1"', "sh", log)
    systemctl = ("env", f"XDG_RUNTIME_DIR=/run/user/{UID}", "systemctl", "--user")

    assert machine.run(*systemctl, "is-active", "deployer_logs-shop.timer").stdout == "active\n"
    machine.run(*systemctl, "start", "deployer_logs-shop.service")

    sizes = machine.run("stat", "--format", "%s", log, f"{log}.1").stdout.split()
    assert int(sizes[0]) < 1000 and int(sizes[1]) >= 11_000_000


def test_destroy_leaves_no_unit_and_no_process(machine: Machine) -> None:
    machine("destroy", "shop", "--yes")

    assert machine.units() == []
    assert machine.run("ls", f"{WORKSPACE}/.deployer/environments/shop").stdout == "logs\n"
    assert machine.host.exec("pgrep", "-u", USER, "-f", "web.py", check=False).stdout == ""
    known = (
        "env",
        f"XDG_RUNTIME_DIR=/run/user/{UID}",
        "systemctl",
        "--user",
        "list-units",
        "--all",
    )
    assert "shop" not in machine.run(*known).stdout


def test_without_a_manager_it_is_told_what_to_do(machine: Machine) -> None:
    machine.host.exec("loginctl", "disable-linger", USER)  # which ends it: nobody is logged in
    active = ("systemctl", "is-active", f"user@{UID}")
    until("it ends", lambda: machine.host.exec(*active, check=False).stdout == "inactive\n")

    refused = machine("validate", "shop", "--set", "runtime=systemd", code=7)

    assert f"loginctl enable-linger {USER}" in refused.stdout
    machine("validate", "shop")  # by itself it takes what works
