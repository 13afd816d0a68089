"""What the measurements share: rows of the table, seconds of a command, a command watched."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

BIN = Path(sys.executable).parent
DEPLOYER = str(BIN / "deployer")
POLL = 5  # milliseconds
ANSIBLE = "ansible-playbook"
PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - {task}
"""


class Row(NamedTuple):
    """One line of the table."""

    what: str
    found: str
    limit: str
    met: bool


@dataclass
class Watched:
    """What was seen of a command, in seconds and MB."""

    wall: float = 0.0
    inside: dict[str, float] = field(default_factory=dict)
    """The time in which children were alive, by program; of those that were asked for."""
    ssh: list[float] = field(default_factory=list)
    """When each `ssh` of its own was started, since the epoch."""
    sizes: dict[str, float] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def health(self) -> float:
        """Seconds until the last service was healthy, as the module on the host tells."""
        healthy = (e for e in self.events if str(e.get("title")).endswith("is healthy"))
        return max((e["seconds"] for e in healthy), default=0.0)

    @property
    def waited(self) -> float:
        """Seconds in which a new host did not answer yet: until the attempt that succeeded."""
        step = {e["event"]: _at(e) for e in self.events if e.get("step") == "reach"}
        if not step:
            return 0.0
        tries = [at for at in self.ssh if step["StepStarted"] <= at <= step["StepFinished"]]
        return max(tries) - min(tries)

    @property
    def added(self) -> float:
        """What is deployer's own."""
        return self.wall - sum(self.inside.values()) - self.waited


def _at(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


def timed(
    command: list[str],
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
    *,
    code: int = 0,
) -> float:
    """Seconds that a command takes. Raises if it does not exit with `code`."""
    with tempfile.TemporaryFile("w+") as told:
        started = time.perf_counter()
        done = subprocess.run(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.STDOUT,
        )
        seconds = time.perf_counter() - started
        assert done.returncode == code, (command, told.seek(0), told.read())
        return seconds


def playbook(path: Path, task: str, inventory: str = "localhost,", *more: str) -> list[str]:
    """The command that runs a playbook of one task."""
    path.write_text(PLAYBOOK.format(task=task), encoding="utf-8")
    return [str(BIN / ANSIBLE), "-i", inventory, *more, str(path)]


def watched(command: list[str], *programs: str, sizes: bool = False) -> Watched:
    """Run a command of deployer's that reports events on stderr, and watch its processes.

    `programs` are those whose time is not its own; `sizes`: look at every process below it.
    """
    found = Watched(inside=dict.fromkeys(programs, 0.0))
    alive: dict[int, tuple[str, float]] = {}  # fd: program, since
    known: set[int] = set()
    with tempfile.TemporaryFile("w+") as told:
        ended = select.poll()
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told)
        own = os.pidfd_open(process.pid)
        ended.register(own, select.POLLIN)
        while True:
            for fd, _ in ended.poll(POLL):
                if fd == own:
                    found.wall = time.perf_counter() - started
                    assert not alive
                    os.close(own)
                    assert process.wait() == 0, told.seek(0) or told.read()
                    told.seek(0)
                    lines = told.read().splitlines()
                    found.events = [json.loads(line) for line in lines if line.startswith("{")]
                    return found
                program, since = alive.pop(fd)
                found.inside[program] += time.perf_counter() - since
                ended.unregister(fd)
                os.close(fd)
            if sizes:
                for pid in below(process.pid):
                    name, size = seen(pid)
                    found.sizes[name] = max(size, found.sizes.get(name, 0.0))
            for pid in children(process.pid):
                if pid in known or (name := seen(pid)[0]) not in (*programs, "ssh"):
                    continue
                known.add(pid)
                if name == "ssh":
                    found.ssh.append(time.time())
                    continue
                with suppress(ProcessLookupError):
                    fd = os.pidfd_open(pid)
                    alive[fd] = name, time.perf_counter()
                    ended.register(fd, select.POLLIN)


def below(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for child in children(pid):
        found += below(child)
    return found


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def seen(pid: int) -> tuple[str, float]:
    """A process's program and its largest resident size so far, in MB."""
    with suppress(OSError, StopIteration):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        scripts = (Path(word).name for word in words[:3])
        name = next(name for name in scripts if not name.startswith(("python", "-")))
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        size = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
        return name, int(size) / 1024
    return "?", 0.0
