"""How fast and how large deployer is, as ratios that hold on any machine.

Prints a Markdown table. Every ratio is one of medians, taken in this run, with what is compared
run in turns, so that a busy machine slows both alike.

- Start-up, `list` and a no-op `deploy` are compared with a bare `python -c "import click"`, the
  least that a command line of this kind can do.
- "What deployer adds" is the wall time of a first `deploy` on this machine without the time in
  which an `ansible-playbook` of it was alive. That time is watched from outside: from when the
  process is first seen among deployer's children until the kernel says that it has ended. What
  ansible-runner does around it counts as deployer's. A health wait is a task inside the playbook
  of `run`, so it is taken off with it, and only once; the table tells how long it was, as the
  module reports it. Compared with one `ansible-playbook` that has nothing to do, with the
  project's own ansible.cfg and environment.
- The largest process is the highest resident size (VmHWM) of deployer or any process below it
  during that deploy.

Not a test: it exits 0 whatever it finds.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from deployer.paths import TEMPLATES, Workspace
from deployer.tools.process import child_environment
from state.history import new_operation_id
from state.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

BIN = Path(sys.executable).parent
DEPLOYER = str(BIN / "deployer")
BARE = [sys.executable, "-c", "import click"]
ENVIRONMENTS = 1000
POLL = 5  # milliseconds
PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.meta: noop
"""


class Row(NamedTuple):
    """One line of the table."""

    what: str
    found: str
    limit: str
    met: bool


@dataclass
class Watched:
    """What was seen of a first deploy, in seconds and MB."""

    wall: float = 0.0
    ansible: float = 0.0
    health: float = 0.0
    sizes: dict[str, float] = field(default_factory=dict)

    @property
    def added(self) -> float:
        """What is deployer's own."""
        return self.wall - self.ansible


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11, help="runs of each quick command")
    parser.add_argument("--deploys", type=int, default=3, help="first deployments")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="deployer-bench-") as folder:
        rows = [*quick(Path(folder), chosen.rounds), *first_deploy(Path(folder), chosen.deploys)]
    print("| what | found | limit | met |")
    print("|---|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.found} | {row.limit} | {'yes' if row.met else '**no**'} |")


def quick(folder: Path, rounds: int) -> list[Row]:
    """Commands that do little, against the bare start of a command line."""
    many = folder / "many"
    many.mkdir()
    fill(many)
    with deployed(folder / "noop") as noop:
        return [
            ratio("`deployer --version`", [DEPLOYER, "--version"], 1.6, rounds),
            ratio(
                f"`deployer list`, {ENVIRONMENTS:,} environments",
                [DEPLOYER, "-C", str(many), "list"],
                4,
                rounds,
            ),
            ratio("`deployer deploy`, nothing to do", [*noop, "deploy", "demo"], 10, rounds),
        ]


def ratio(what: str, command: list[str], limit: float, rounds: int) -> Row:
    """`command` against the bare start, run in turns."""
    timed(BARE), timed(command)  # the first ones fill caches
    pairs = [(timed(BARE), timed(command)) for _ in range(rounds)]
    found = median(b for _, b in pairs) / median(a for a, _ in pairs)
    return Row(
        f'{what}, against `python -c "import click"`',
        f"{found:.2f} ×",
        f"{limit} ×",
        found <= limit,
    )


def timed(command: list[str], environment: dict[str, str] | None = None) -> float:
    """Seconds that a command takes. Raises if it fails."""
    started = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def fill(root: Path) -> None:
    """Record many environments; only their files are left out."""
    store = Store.open(Workspace.find(root).store)
    holder = {"actor": "bench", "host": "bench", "pid": os.getpid(), "command": "bench"}
    for number in range(ENVIRONMENTS):
        name, operation_id = f"environment-{number}", new_operation_id()
        token = store.take_lease(name, operation_id=operation_id, holder=holder)
        with store.transaction():
            store.create_environment(
                name,
                token=token,
                config={"app": "guestbook", "provider": "local", "settings": {"port": number}},
                ports={"port": 10_000 + number},
                operation_id=operation_id,
                details=holder,
            )
    store.close()


@contextmanager
def deployed(root: Path) -> Iterator[list[str]]:
    """The start of a command line for a workspace with a running demo, destroyed afterwards."""
    with created(root) as command:
        timed([*command, "deploy", "demo"])
        yield command


@contextmanager
def created(root: Path) -> Iterator[list[str]]:
    """The same with a demo that is created only."""
    root.mkdir()
    command = [DEPLOYER, "-C", str(root)]
    timed([*command, "create", "demo"])
    try:
        yield command
    finally:
        timed([*command, "destroy", "demo", "--yes"])


def first_deploy(folder: Path, times: int) -> list[Row]:
    """First deployments, against an `ansible-playbook` that has nothing to do."""
    (folder / "noop.yml").write_text(PLAYBOOK, encoding="utf-8")
    playbook = [str(BIN / "ansible-playbook"), "-i", "localhost,", "-c", "local"]
    playbook.append(str(folder / "noop.yml"))
    environment = child_environment("bench", "bench") | {
        "ANSIBLE_CONFIG": str(TEMPLATES / "ansible" / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "ansible"),
    }
    timed(playbook, environment)
    noops, deploys = [], []
    for number in range(times):
        with created(folder / f"first-{number}") as command:
            noops.append(timed(playbook, environment))
            deploys.append(watched([*command, "--progress", "json", "deploy", "demo"]))
        noops.append(timed(playbook, environment))
    one = median(noops)
    added = median(d.added for d in deploys) / one
    sizes = {name: max(d.sizes.get(name, 0) for d in deploys) for d in deploys for name in d.sizes}
    largest = max(sizes, key=sizes.__getitem__)
    parts = ", ".join(
        f"{word} {median(values) / one:.2f}"
        for word, values in (
            ("all", [d.wall for d in deploys]),
            ("Ansible", [d.ansible for d in deploys]),
            ("health wait in it", [d.health for d in deploys]),
        )
    )
    return [
        Row(
            "what deployer adds to a first `deploy`, against one no-op `ansible-playbook`"
            f" ({parts})",
            f"{added:.2f} ×",
            "1 ×",
            added <= 1,
        ),
        Row(
            f"largest process of it ({largest})",
            f"{sizes[largest]:.0f} MB",
            "120 MB",
            sizes[largest] <= 120,
        ),
    ]


def watched(command: list[str]) -> Watched:
    """Run a deploy and watch its processes."""
    found = Watched()
    alive: dict[int, tuple[int, float]] = {}  # fd of a playbook: pid, since
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
                    found.health = health_wait(told.read())
                    return found
                found.ansible += time.perf_counter() - alive.pop(fd)[1]
                ended.unregister(fd)
                os.close(fd)
            known = {pid for pid, _ in alive.values()}
            for pid in below(process.pid):
                name, size = seen(pid)
                found.sizes[name] = max(size, found.sizes.get(name, 0.0))
                if name == "ansible-playbook" and parent(pid) == process.pid and pid not in known:
                    with suppress(ProcessLookupError):
                        fd = os.pidfd_open(pid)
                        alive[fd] = pid, time.perf_counter()
                        ended.register(fd, select.POLLIN)


def below(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += below(int(child))
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


def parent(pid: int) -> int | None:
    """The process that started this one."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def health_wait(told: str) -> float:
    """Seconds until the last service was healthy, as the module on the host tells."""
    events = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    return max(
        (e["seconds"] for e in events if str(e.get("title")).endswith("is healthy")), default=0.0
    )


if __name__ == "__main__":
    main()
