"""Environments on hosts that are there already: their file, and what may be left of them."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import tempfile
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from e2e.hosts.fleet import SshHost, docker_host, docker_network, supervised
from e2e.support import Environment, Site, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def unique() -> str:
    return f"t{secrets.token_hex(3)}"


@contextmanager
def machines(count: int, *, sudo: Any = "none", user: str = "root") -> Iterator[list[SshHost]]:
    """Hosts in a network of their own, which keep their addresses."""
    with docker_network() as (network, prefix), ExitStack() as stack:
        yield [
            stack.enter_context(
                docker_host(
                    supervised(),
                    sudo=sudo,
                    user=user,
                    options=("--network", network, "--ip", f"{prefix}.{number + 11}"),
                )
            )
            for number in range(count)
        ]


def table(host: SshHost, **more: Any) -> dict[str, Any]:
    """A host as the environment file names it."""
    return {"address": host.address, "user": host.user, "key": str(host.key), **more}


def write(
    site: Site, name: str, hosts: Sequence[Any], *, app: str = "guestbook", **options: Any
) -> Environment:
    """Write the file of an environment on hosts; the port stays what it was."""
    environment = Environment(site, name)
    lines = environment.file.read_text().splitlines() if environment.file.exists() else []
    port = next((x for x in lines if x.startswith("port")), f"port = {free_port()}")
    environment.file.parent.mkdir(exist_ok=True)
    said = "".join(f"{key} = {_toml(value)}\n" for key, value in options.items())
    environment.file.write_text(
        f'app = "{app}"\nprovider = "ssh"\nruntime = "supervisor"\n\n[provider_options]\n'
        f"hosts = {_toml(list(hosts))}\n{said}\n[settings]\n{port}\n"
    )
    return environment


def create(site: Site, hosts: Sequence[Any], **more: Any) -> Environment:
    """Create an environment on hosts, under a name that no other test has."""
    environment = write(site, unique(), hosts, **more)
    environment("create")
    return environment


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(v)}" for key, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def connections(environment: Environment) -> list[str]:
    """What is left of connections to its hosts: sockets, and processes of ssh."""
    folder = Path(tempfile.gettempdir())
    uuid = environment.uuid[:12]
    left = [str(path) for path in folder.glob(f"deployer-*/ssh/{uuid}/*")]
    for process in psutil.process_iter(["cmdline", "name"]):
        line = " ".join(process.info["cmdline"] or [])
        if process.info["name"] == "ssh" and (uuid in line or str(environment.folder) in line):
            left.append(line)
    return left


def logins(host: SshHost) -> int:
    """How often somebody has logged in, as the host's SSH server tells."""
    done = subprocess.run(
        ["docker", "logs", host.name], capture_output=True, text=True, timeout=30, check=True
    )
    return (done.stdout + done.stderr).count("Accepted publickey")


def listing(host: SshHost) -> list[str]:
    """Every file of a host with its time and size; not what logging in and looking leave."""
    hidden = ("/proc", "/sys", "/run", "/tmp", "/dev", "/var/log", "/var/lib/sudo")
    pruned = " -o ".join(f"-path {path}" for path in hidden)
    found = host.exec(
        *("sh", "-c", rf"find / -xdev \( {pruned} \) -prune -o -printf '%p %T@ %s %m %u\n' | sort")
    )
    return found.stdout.splitlines()


class Watch:
    """Looks at every command line of this machine containers' too."""

    def __init__(self, *values: str) -> None:
        self.found: set[str] = set()
        self._values = [value.encode() for value in values]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> set[str]:
        """The command lines that had one of the values."""
        self._over.set()
        self._thread.join()
        return self.found

    def _look(self) -> None:
        while not self._over.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    line = path.read_bytes()
                    if any(value in line for value in self._values):
                        self.found.add(line.decode(errors="replace"))


def holding(value: str, *folders: Path) -> list[Path]:
    """Files that hold a value, also as base64 or as JSON writes it."""
    forms = {value, json.dumps(value)[1:-1], base64.b64encode(value.encode()).decode()}
    found = []
    for folder in folders:
        for path in folder.rglob("*") if folder.is_dir() else ():
            with suppress(OSError):
                if path.is_file() and any(f.encode() in path.read_bytes() for f in forms):
                    found.append(path)
    return found
