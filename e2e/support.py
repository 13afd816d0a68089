"""What end-to-end tests share: a workspace, the installed `deployer` in it, and what runs there."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import psutil

from deployer import reading
from deployer.paths import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from state.records import EnvironmentRecord

ROOT = Path(__file__).parent.parent
DEPLOYER = Path(sys.executable).parent / "deployer"
GUESTBOOK = ROOT / "templates" / "apps" / "guestbook"
COMMAND_TIMEOUT = 120.0  # seconds
DEADLINE = 20.0  # seconds that something which is due may take

# below the ports that the kernel gives to connections, and apart for tests that run at once
_ports = count(20_000 + os.getpid() * 41 % 12_000)


def free_port() -> int:
    """A port that nobody listens on, and that no other test process takes in the meantime."""
    for port in _ports:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError


def until(
    what: str, look: Callable[[], Any], deadline: float = DEADLINE, pause: float = 0.05
) -> Any:
    """Look until something true is seen, and return it."""
    limit = time.monotonic() + deadline
    while not (seen := look()):
        assert time.monotonic() < limit, f"{what}: not within {deadline:g} s"
        time.sleep(pause)
    return seen


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def envelope(self) -> dict[str, Any]:
        """The JSON that it printed."""
        return json.loads(self.stdout)

    @property
    def data(self) -> dict[str, Any]:
        """What it found or did."""
        return self.envelope["data"]

    @property
    def error(self) -> dict[str, Any]:
        """Why it failed."""
        return self.envelope["error"]

    @property
    def verbs(self) -> list[str]:
        """The verbs that it ran."""
        return [verb["verb"] for verb in self.data["verbs"]]


def on_terminal(*command: str, answers: str = "", timeout: float = COMMAND_TIMEOUT) -> Outcome:
    """Run a command on a terminal, where `answers` are typed; all that it says is in `stdout`."""
    import pexpect

    child = pexpect.spawn(command[0], list(command[1:]), encoding="utf-8", timeout=timeout)
    child.send(answers)
    said = child.read()
    child.close()
    return Outcome(child.exitstatus if child.exitstatus is not None else -1, said, "")


class Site:
    """A workspace, and the `deployer` that works in it."""

    def __init__(self, root: Path, program: Path = DEPLOYER, cwd: Path | None = None) -> None:
        self.root = root
        self.program = program
        self.cwd = cwd or root
        self.uuids: set[str] = set()

    def run(self, *arguments: str, code: int | None = 0) -> Outcome:
        """Run a command with `--output json`; it must exit with `code`."""
        done = subprocess.run(
            [str(self.program), "-C", str(self.root), "--output", "json", *arguments],
            cwd=self.cwd,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT,
            stdin=subprocess.DEVNULL,
        )
        found = Outcome(done.returncode, done.stdout, done.stderr)
        told = f"{' '.join(arguments)} exited {found.code}\n{done.stdout}\n{done.stderr}"
        assert code is None or found.code == code, told
        if found.code == 0 and isinstance(found.data, dict) and found.data.get("uuid"):
            self.uuids.add(found.data["uuid"])
        return found

    def environment(self, name: str = "demo", *, app: Path | None = None) -> Environment:
        """Create an environment of the demo application, or of one of this workspace."""
        # a user's own systemd, where one runs, would be taken before it
        options = ["--runtime", "supervisor", "--set", f"port={free_port()}"]
        if app is not None:
            options += ["--app", str(app)]
        self.run("create", name, *options)
        return Environment(self, name)

    def own_app(self) -> Path:
        """A copy of the demo application, to be changed."""
        return shutil.copytree(
            GUESTBOOK, self.root / "app", ignore=shutil.ignore_patterns("__pycache__")
        )

    def tear_down(self) -> None:
        """Leave nothing, whatever a failed test left."""
        for name in {path.stem for path in (self.root / "environments").glob("*.toml")}:
            self.run("destroy", name, "--yes", code=None)
        for uuid in self.uuids:
            for process in services(uuid):
                with suppress(psutil.Error):
                    process.kill()
            shutil.rmtree(private_folder(uuid), ignore_errors=True)


@dataclass(frozen=True)
class Environment:
    """One environment of a site."""

    site: Site
    name: str

    def __call__(self, verb: str, *options: str, code: int = 0) -> Outcome:
        """Run a command on it."""
        return self.site.run(verb, self.name, *options, code=code)

    @property
    def file(self) -> Path:
        return self.site.root / "environments" / f"{self.name}.toml"

    @property
    def folder(self) -> Path:
        return self.site.root / ".deployer" / "environments" / self.name

    @property
    def host(self) -> Path:
        return self.folder / "host"

    @property
    def shown(self) -> dict[str, Any]:
        return self("show").data

    @property
    def record(self) -> EnvironmentRecord:
        """What is recorded, read here: a command for each look would take most of the time."""
        return reading.environment(Workspace.find(self.site.root), self.name)

    @property
    def uuid(self) -> str:
        return self.record.uuid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.record.config['settings']['port']}/"

    @property
    def operations(self) -> list[dict[str, Any]]:
        return list(self("history").data["operations"])

    def edit(self, old: str, new: str) -> None:
        """Change the environment file."""
        replace(self.file, old, new)

    def processes(self) -> list[psutil.Process]:
        """The daemon and every process of a service."""
        return services(self.uuid)

    def service(self, name: str) -> psutil.Process:
        """The one process of a service, or of the supervisor, whose name is `supervisord`."""
        found = [p for p in self.processes() if _role(p) == name]
        assert len(found) == 1, found
        return found[0]

    def pids(self) -> dict[str, int]:
        """Pids by service, the supervisor's too. Fails unless there is exactly one of each."""
        found = sorted((_role(p), p.pid) for p in self.processes())
        assert [role for role, _ in found] == ["supervisord", "web", "worker"]
        return dict(found)

    def is_healthy(self) -> bool:
        return bool(self("status").data["healthy"])


def _role(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        if "supervisor.supervisord" in process.cmdline():
            return "supervisord"
    return variables(process).get("DEPLOYER_SERVICE", "?")


def variables(process: psutil.Process) -> dict[str, str]:
    """The environment of a process; empty if it can't be read."""
    with suppress(psutil.Error, OSError):
        return process.environ()
    return {}


def services(uuid: str) -> list[psutil.Process]:
    """Every living process of an environment's services and its supervisor."""
    return [
        process
        for process in psutil.process_iter()
        if variables(process).get("DEPLOYER_SERVICES") == uuid
        and process.status() != psutil.STATUS_ZOMBIE
    ]


def workers(uuid: str) -> list[psutil.Process]:
    """Every living process that an operation on an environment has started."""
    return [
        process
        for process in psutil.process_iter()
        if variables(process).get("DEPLOYER_ENVIRONMENT_UUID") == uuid
        and process.status() != psutil.STATUS_ZOMBIE
    ]


def private_folder(uuid: str) -> Path:
    """Where an environment's sockets are."""
    return Path(tempfile.gettempdir()) / f"deployer-{os.getuid()}" / uuid[:12]


def kill(*targets: psutil.Process) -> None:
    """End processes at once, and wait until they are gone."""
    for process in targets:
        process.kill()
    until("killed processes are gone", lambda: not any(_lives(p) for p in targets))


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def listens(port: int) -> bool:
    """Whether anybody accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(2.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def fetch(url: str) -> str:
    """The page at `url`."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(url, timeout=10) as answer:
        return answer.read().decode()


def post(url: str, **form: str) -> None:
    """Send a form."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    direct.open(url, urlencode(form).encode(), timeout=10).close()


def replace(path: Path, old: str, new: str) -> None:
    """Change a text file, which must have `old` in it."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
