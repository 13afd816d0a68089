"""Hosts for tests: real ones, reached by SSH, that live as long as a `with` block."""

from __future__ import annotations

import fcntl
import json
import secrets
import socket
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from e2e.support import until

if TYPE_CHECKING:
    from collections.abc import Iterator

Sudo = Literal["nopasswd", "password", "none"]

PROVIDE = "e2e/hosts/hosts up"
LABEL = "deployer.test=1"  # what `hosts down` removes, as it does what is named `deployer-test-…`
PROGRAM_TIMEOUT = 120.0  # seconds
BOOT_TIMEOUT = 60.0  # seconds

# names an account after $1, that who has the key $2 may use; $3 is a `Sudo`, $4 its password
_ACCOUNT = """
id "$1" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$1"
home=$(getent passwd "$1" | cut -d: -f6)
install -d -m 700 -o "$1" -g "$1" "$home/.ssh"
echo "$2" >"$home/.ssh/authorized_keys"
chown "$1:$1" "$home/.ssh/authorized_keys"
case $3 in
    nopasswd) echo "$1 ALL=(ALL) NOPASSWD:ALL" >/etc/sudoers.d/test ;;
    password) echo "$1:$4" | chpasswd; echo "$1 ALL=(ALL) ALL" >/etc/sudoers.d/test ;;
esac
"""


@cache
def lxd_available() -> str | None:
    """Why there is no LXD with the image `debian/12`, and the command that provides it."""
    return _lacking("LXD with the image debian/12", "lxc", "image", "info", "debian/12")


@cache
def docker_available() -> str | None:
    """Why there is no Docker with the images of hosts, and the command that provides it."""
    image = "deployer-host:12"
    return _lacking(f"Docker with the image {image}", "docker", "image", "inspect", image)


@dataclass
class SshHost:
    """A host, where `user` may log in with `key`."""

    client: Literal["docker", "lxc"]
    name: str
    user: str
    key: Path
    sudo_password: str = ""
    address: str = ""
    port: int = 22

    def exec(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command as root, not by SSH."""
        end = ["--"] if self.client == "lxc" else []
        return _run(self.client, "exec", self.name, *end, *command, check=check)

    def ssh(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command as `user`, by SSH; the host must have the key that it has."""
        known = self.key.with_name(f"{self.name}.known")
        known.write_text(self.known_hosts)
        options = ["-F", "none", "-i", str(self.key), "-p", str(self.port), "-o", "BatchMode=yes"]
        options += ["-o", f"UserKnownHostsFile={known}", "-o", "IdentitiesOnly=yes"]
        return _run("ssh", *options, f"{self.user}@{self.address}", *command, check=check)

    @property
    def host_key(self) -> str:
        """Its public key: kind and key."""
        line = self.exec("cat", "/etc/ssh/ssh_host_ed25519_key.pub").stdout
        return " ".join(line.split()[:2])

    @property
    def known_hosts(self) -> str:
        """The line of a `known_hosts` file."""
        at = self.address if self.port == 22 else f"[{self.address}]:{self.port}"
        return f"{at} {self.host_key}\n"

    def pause(self) -> None:
        """Freeze it: who connects hears nothing."""
        _run(self.client, "pause", self.name)

    def unpause(self) -> None:
        """Let it go on."""
        _run(self.client, "start" if self.client == "lxc" else "unpause", self.name)

    def kill(self) -> None:
        """End it as a power cut does."""
        _run(self.client, *(["stop", "--force"] if self.client == "lxc" else ["kill"]), self.name)

    def start(self) -> None:
        """Boot it, and wait until it answers; `address` may be another one than before."""
        _run(self.client, "start", self.name)
        self.wait()

    def wait(self) -> None:
        """Wait until it has an address, and its SSH server answers."""
        self.address = until(f"{self.name} has an address", self._find_address, BOOT_TIMEOUT)
        until(f"{self.name} answers", self.answers, BOOT_TIMEOUT)
        if self.client == "lxc":  # only root is let in before it has booted
            self.exec("systemctl", "is-system-running", "--wait", check=False)

    def answers(self) -> bool:
        """Whether its SSH server does, within a second."""
        with (
            suppress(OSError),
            socket.create_connection((self.address, self.port), timeout=1.0) as connection,
        ):
            return connection.recv(4) == b"SSH-"
        return False

    def remove(self) -> None:
        """Leave nothing of it."""
        force = ["delete", "--force"] if self.client == "lxc" else ["rm", "--force", "--volumes"]
        _run(self.client, *force, self.name, check=False)

    def _find_address(self) -> str:
        if self.client == "docker":
            each = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
            found = _run("docker", "inspect", "--format", each, self.name).stdout.split()
            return found[0] if found else ""
        state = json.loads(_run("lxc", "query", f"/1.0/instances/{self.name}/state").stdout)
        addresses = ((state["network"] or {}).get("eth0") or {}).get("addresses", [])
        return next((a["address"] for a in addresses if a["family"] == "inet"), "")


@contextmanager
def docker_host(
    image: str = "deployer-host:12",
    *,
    sudo: Sudo = "nopasswd",
    user: str = "admin",
    options: tuple[str, ...] = (),
) -> Iterator[SshHost]:
    """Run a host without systemd; a second.

    :param image: `deployer-host:12`, or `:nopython` or `:nosudo` for one that lacks it.
    :param sudo: what `user` may become root with.
    :param options: more for `docker run`, such as a network.
    """
    with _host("docker", user, sudo) as host:
        mark = ("--init", "--label", LABEL, "--name", host.name, "--hostname", host.name)
        _run("docker", "run", "--detach", *mark, *options, image)
        _open(host, sudo)
        yield host


@cache
def supervised() -> str:
    """The Docker image `deployer-host:12` with supervisor in it, made once from the packages.

    Installing it on each host of each test would take most of their time.
    """
    base, image = "deployer-host:12", "deployer-host:supervisor"
    recipe = '{{index .Config.Labels "deployer.recipe"}}'
    told = ("docker", "image", "inspect", "--format", recipe)
    with (Path(tempfile.gettempdir()) / "deployer-test-image.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if _run(*told, image, check=False).stdout != _run(*told, base).stdout:
            with docker_host() as host:
                install = "apt-get update -q && apt-get install -q -y supervisor"
                host.exec("sh", "-ec", f"{install}; rm -f /etc/ssh/ssh_host_*; userdel -r admin")
                _run("docker", "commit", host.name, image)
    return image


@contextmanager
def docker_network(*options: str) -> Iterator[tuple[str, str]]:
    """Make a network; its name, and the first three numbers of its addresses.

    A host in it keeps the address that `--ip` gives it, whatever happens to it.
    """
    name = f"deployer-test-{secrets.token_hex(4)}"
    for _ in range(20):  # another one may have these addresses
        prefix = f"10.{secrets.randbelow(40) + 200}.{secrets.randbelow(256)}"
        subnet = ("--subnet", f"{prefix}.0/24")
        made = ("docker", "network", "create", "--label", LABEL, *subnet, *options, name)
        if _run(*made, check=False).returncode == 0:
            break
    else:
        raise AssertionError("no network can be made")
    try:
        yield name, prefix
    finally:
        _run("docker", "network", "rm", name, check=False)


@contextmanager
def lxd_host(
    image: str = "debian/12",
    *,
    sudo: Sudo = "nopasswd",
    user: str = "admin",
    options: tuple[str, ...] = (),
) -> Iterator[SshHost]:
    """Boot a host with systemd, in which Docker would run; some seconds.

    :param image: `debian/12`, or `debian/12-cloud` for one with cloud-init.
    :param sudo: what `user` may become root with.
    :param options: more for `lxc launch`, such as `-c limits.memory=1GiB`.
    """
    with _host("lxc", user, sudo) as host:
        _run("lxc", "launch", image, host.name, "-c", "security.nesting=true", *options)
        _open(host, sudo)
        yield host


@contextmanager
def _host(client: Literal["docker", "lxc"], user: str, sudo: Sudo) -> Iterator[SshHost]:
    with tempfile.TemporaryDirectory(prefix="deployer-test-") as folder:
        key = Path(folder) / "id_ed25519"
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(key))
        password = secrets.token_urlsafe(12) if sudo == "password" else ""
        host = SshHost(client, f"deployer-test-{secrets.token_hex(4)}", user, key, password)
        try:
            yield host
        finally:
            host.remove()


def _open(host: SshHost, sudo: Sudo) -> None:
    """Wait until it has booted, then let the user in."""
    host.wait()
    key = host.key.with_suffix(".pub").read_text().strip()
    host.exec("sh", "-ec", _ACCOUNT, "sh", host.user, key, sudo, host.sudo_password)


def _lacking(what: str, *command: str) -> str | None:
    try:
        done = _run(*command, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    else:
        if done.returncode == 0:
            return None
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return f"no {what} ({reason}); as root: {PROVIDE}"


def _run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PROGRAM_TIMEOUT,
        stdin=subprocess.DEVNULL,  # `lxc launch` would read a configuration from it
    )
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done
