"""How fast and how large deployer is, as ratios that hold on any machine.

Prints a Markdown table. Every ratio is one of medians, taken in this run, with what is compared
run in turns, so that a busy machine slows both alike.

- Start-up, `list`, `validate` and a no-op `deploy` are compared with a bare
  `python -c "import click"`, the least that a command line of this kind can do.
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
import os
import signal
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from deployer.errors import Exit
from deployer.paths import TEMPLATES, Workspace
from deployer.tools.process import child_environment
from e2e.bench import on_hosts
from e2e.bench.measure import ANSIBLE, DEPLOYER, Row, Watched, playbook, timed, watched
from state.history import new_operation_id
from state.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

BARE = [sys.executable, "-c", "import click"]
ENVIRONMENTS = 1000
WRONG = {
    "site.yml": """\
- hosts: all
  tasks:
    - get_url: { url: "http:/example.org/", dest: /srv/page.html, mode: '0900' }
""",
    "net.conf.j2": "subnet = 172.17.0.0/33\n",
    "main.tf": 'resource "docker_network" "n" {\n  subnet = "172.17.0.0/33"\n}\n',
}
NOTHING_TO_DO = {"meta: noop": "ansible.builtin.meta: noop", "ping": "ansible.builtin.ping:"}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11, help="runs of each quick command")
    parser.add_argument("--deploys", type=int, default=3, help="first deployments")
    parser.add_argument("--only", choices=("here", "hosts"), help="leave the others out")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was made is then taken down
    # else our own modules, and no others, would be compiled at each start
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="deployer-bench-") as folder:
        rows: list[Row] = []
        if chosen.only != "hosts":
            rows += quick(Path(folder), chosen.rounds)
            rows += first_deploy(Path(folder), chosen.deploys)
            rows.append(redeploy(Path(folder), chosen.deploys))
        lacking = on_hosts.lacking()
        if chosen.only != "here" and not lacking:
            rows += on_hosts.measure(Path(folder), chosen.deploys)
    print("| what | found | limit | met |")
    print("|---|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.found} | {row.limit} | {'yes' if row.met else '**no**'} |")
    if chosen.only != "here" and lacking:
        print(f"\nNothing was measured on hosts: {lacking}")


def quick(folder: Path, rounds: int) -> list[Row]:
    """Commands that do little, against the bare start of a command line."""
    many = folder / "many"
    many.mkdir()
    fill(many)
    with deployed(folder / "noop") as noop, created(folder / "wrong") as wrong:
        for name, text in WRONG.items():
            (folder / "wrong" / name).write_text(text)
        return [
            ratio("`deployer --version`", [DEPLOYER, "--version"], 1.6, rounds),
            ratio(
                f"`deployer list`, {ENVIRONMENTS:,} environments",
                [DEPLOYER, "-C", str(many), "list"],
                4,
                rounds,
            ),
            ratio("`deployer deploy`, nothing to do", [*noop, "deploy", "demo"], 10, rounds),
            ratio(
                "`deployer validate` that refuses a playbook, a template and a Terraform module",
                [*wrong, "validate", "demo"],
                20,
                rounds,
                Exit.GATE,
            ),
        ]


def ratio(what: str, command: list[str], limit: float, rounds: int, code: int = 0) -> Row:
    """`command`, which exits with `code`, against the bare start, run in turns."""
    timed(BARE), timed(command, code=code)  # the first ones fill caches
    pairs = [(timed(BARE), timed(command, code=code)) for _ in range(rounds)]
    found = median(b for _, b in pairs) / median(a for a, _ in pairs)
    return Row(
        f'{what}, against `python -c "import click"`',
        f"{found:.2f} ×",
        f"{limit} ×",
        found <= limit,
    )


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
    environment = bare_ansible(folder)
    playbooks = {
        what: playbook(folder / f"noop-{number}.yml", task, "localhost,", "-c", "local")
        for number, (what, task) in enumerate(NOTHING_TO_DO.items())
    }
    for command in playbooks.values():
        timed(command, environment)  # the first one fills caches
    noops: dict[str, list[float]] = {what: [] for what in playbooks}
    deploys = []
    for number in range(times):
        for what, command in playbooks.items():
            noops[what].append(timed(command, environment))
        with created(folder / f"first-{number}") as deployer:
            command = [*deployer, "--progress", "json", "deploy", "demo"]
            deploys.append(watched(command, ANSIBLE, sizes=True))
    sizes = {name: max(d.sizes.get(name, 0) for d in deploys) for d in deploys for name in d.sizes}
    largest = max(sizes, key=sizes.__getitem__)
    return [
        *(added(what, median(seconds), deploys) for what, seconds in noops.items()),
        Row(
            f"largest process of it ({largest})",
            f"{sizes[largest]:.0f} MB",
            "120 MB",
            sizes[largest] <= 120,
        ),
    ]


def redeploy(folder: Path, times: int) -> Row:
    """`redeploy` of an app that has not changed: its services are started anew."""
    noop = playbook(
        folder / "redeploy-noop.yml", "ansible.builtin.ping:", "localhost,", "-c", "local"
    )
    environment = bare_ansible(folder)
    with deployed(folder / "redeploy") as deployer:
        command = [*deployer, "--progress", "json", "redeploy", "demo"]
        pairs = [(timed(noop, environment), watched(command, ANSIBLE)) for _ in range(times + 1)][
            1:
        ]
    one = median(a for a, _ in pairs)
    found = median(b.wall - b.health for _, b in pairs) / one
    return Row(
        "`redeploy` of an unchanged app without the wait for its health, against one "
        "`ansible-playbook` with `ping`",
        f"{found:.2f} ×",
        "2.4 ×",
        found <= 2.4,
    )


def bare_ansible(folder: Path) -> dict[str, str]:
    """The environment of an Ansible by itself, with deployer's own settings."""
    return child_environment("bench", "bench") | {
        "ANSIBLE_CONFIG": str(TEMPLATES / "ansible" / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "ansible"),
    }


def added(what: str, one: float, deploys: list[Watched]) -> Row:
    """What deployer adds to Ansible, against `one` playbook's seconds."""
    found = median(d.added for d in deploys) / one
    parts = ", ".join(
        f"{word} {median(values) / one:.2f}"
        for word, values in (
            ("all", [d.wall for d in deploys]),
            ("Ansible", [d.inside[ANSIBLE] for d in deploys]),
            ("health wait in it", [d.health for d in deploys]),
        )
    )
    title = f"what deployer adds to a first `deploy`, against one `ansible-playbook` with `{what}`"
    return Row(f"{title} ({parts})", f"{found:.2f} ×", "1 ×", found <= 1)


if __name__ == "__main__":
    main()
