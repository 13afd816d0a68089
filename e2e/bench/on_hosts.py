"""How fast deployer is on real hosts: LXD containers with systemd, reached by SSH.

- "What deployer adds" is the wall time of a first `deploy` without the time in which a
  `terraform` or an `ansible-playbook` of it was alive (watched from outside, see bench.py), and
  without the wait for the host: from the first attempt to reach it until the one that succeeded
  began. What comes after it (the connection, the questions to the host) is deployer's, as are its
  own calls over SSH, the provider's probe, and what ansible-runner does. Compared with two runs of
  `ansible-playbook` with one `ping` on that host, one after the other, the first without an open
  connection.
- `release` and `run` are commands, each started anew, after a change of the application; three
  hosts in turns with one.
- `provision` finds nothing to do; `terraform plan` is run bare, on the same module, state and
  variables.
- `configure`, `release` and `run`, three commands, are compared with tasks.yml: the same work,
  each task an `ansible-playbook` process of its own, over one open connection that Ansible keeps.
  The end state must be the same, else the bench fails: files with owner, mode and content, links,
  the user, units enabled and active. Left out are deployer's own notes (lock, fence) and what the
  services have written.
- `upgrade` of an app of 10 MB that has changed, without the wait for its health, is compared with
  what one would do by hand, and two runs of `ansible-playbook` with one `ping`: `scp` of the same
  bundle, and an `ssh` that unpacks it and restarts the units.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import shutil
import tarfile
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import yaml

from deployer import reading
from deployer.lifecycle import hosts, infrastructure
from deployer.paths import TEMPLATES, Workspace
from deployer.tools import ssh, terraform
from deployer.tools.process import child_environment
from e2e.bench.measure import ANSIBLE, DEPLOYER, Row, playbook, timed, watched
from e2e.hosts import fleet
from e2e.support import GUESTBOOK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.bench.measure import Watched
    from e2e.hosts.fleet import SshHost
    from state.records import EnvironmentRecord

PING = "ansible.builtin.ping:"
ROUNDS = 3
_numbers = count(1)

# prints what is there for an environment: $1 its root, $2 its name, $3 its user
STATE = r"""
import grp, hashlib, json, os, pwd, subprocess, sys
root, name, user = sys.argv[1:]
found = {}
def note(path):
    s = os.lstat(path)
    owner = "%s:%s" % (pwd.getpwuid(s.st_uid).pw_name, grp.getgrgid(s.st_gid).gr_name)
    if os.path.islink(path):
        found[path] = ["link", owner, os.readlink(path)]
    elif os.path.isdir(path):
        found[path] = ["folder", owner, "%o" % (s.st_mode & 0o7777)]
    else:
        written = os.path.dirname(path) in (root + "/logs", root + "/shared")
        digest = "" if written else hashlib.sha256(open(path, "rb").read()).hexdigest()
        found[path] = ["file", owner, "%o" % (s.st_mode & 0o7777), digest]
for folder, names, files in os.walk(root):
    note(folder)
    for one in files + [n for n in names if os.path.islink(os.path.join(folder, n))]:
        path = os.path.join(folder, one)
        own = path == root + "/runtime/lock" or "guestbook.db" in one
        if not own and "__pycache__" not in path:
            note(path)
units = "/etc/systemd/system"
for folder in (units, units + "/multi-user.target.wants", "/etc/logrotate.d"):
    for one in os.listdir(folder):
        if one.startswith("deployer-" + name):
            note(os.path.join(folder, one))
entry = pwd.getpwnam(user)
found["user"] = [entry.pw_name, entry.pw_dir, entry.pw_shell]
for one in sorted(os.listdir(units)):
    if one.startswith("deployer-" + name):
        show = ["systemctl", "show", "--property=ActiveState,SubState,UnitFileState,User", one]
        found[one] = subprocess.run(show, stdout=subprocess.PIPE, text=True).stdout.split()
print(json.dumps(found, sort_keys=True))
"""


def lacking() -> str | None:
    """Why nothing can be measured on hosts here."""
    return fleet.lxd_available() or (None if terraform.find() else terraform.missing())


def measure(folder: Path, deploys: int) -> list[Row]:
    """Every measurement on hosts."""
    rows = [first_deploy(folder, deploys), second_provision(folder)]
    with ExitStack() as stack:
        three = [stack.enter_context(fleet.lxd_host(user="root")) for _ in range(3)]
        rows.append(three_hosts(folder, three))
        rows.append(one_by_one(folder, three[0]))
        rows.append(ten_megabytes(folder, three[0]))
    return rows


class Site:
    """A workspace with one environment of a copy of the demo."""

    def __init__(self, folder: Path) -> None:
        self.name = f"b{secrets.token_hex(3)}"
        self.root = folder / self.name
        self.root.mkdir()
        self.app = self.root / "app"
        shutil.copytree(GUESTBOOK, self.app, ignore=shutil.ignore_patterns("__pycache__"))
        self.workspace = Workspace.find(self.root)

    def command(self, verb: str, *more: str) -> list[str]:
        """The command line of a verb."""
        return [DEPLOYER, "-C", str(self.root), verb, self.name, *more]

    def run(self, *verbs: str) -> float:
        """Seconds that verbs take, each started anew."""
        return sum(timed(self.command(verb)) for verb in verbs)

    def change(self) -> None:
        """Another release."""
        (self.app / "changed.txt").write_text(str(next(_numbers)))

    @property
    def record(self) -> EnvironmentRecord:
        """What is recorded."""
        return reading.environment(Workspace.find(self.root), self.name)


@contextmanager
def on_lxd(folder: Path) -> Iterator[Site]:
    """An environment whose host is yet to be made; destroyed afterwards."""
    site = Site(folder)
    timed(site.command("create", "--app", str(site.app), "--provider", "lxd"))
    try:
        yield site
    finally:
        timed(site.command("destroy", "--yes"))


@contextmanager
def on_given(folder: Path, given: list[SshHost], port: int) -> Iterator[Site]:
    """An environment on hosts that are there; destroyed afterwards."""
    site = Site(folder)
    lines = [
        f'app = "{site.app}"',
        'provider = "ssh"',
        'runtime = "systemd"',
        f"settings = {{ port = {port} }}",
    ]
    for number, host in enumerate(given, 1):
        lines += [
            "[[provider_options.hosts]]",
            f'name = "h{number}"',
            f'address = "{host.address}"',
            f'user = "{host.user}"',
            f'key = "{host.key}"',
        ]
    file = site.workspace.environment_file(site.name)
    file.parent.mkdir()
    file.write_text("\n".join(lines))
    timed(site.command("create"))
    try:
        yield site
    finally:
        timed(site.command("destroy", "--yes"))


def bare(site: Site, folder: Path) -> tuple[str, dict[str, str]]:
    """An inventory and an environment for Ansible by itself, with deployer's own settings."""
    [host] = site.record.hosts
    way = hosts.login(site.workspace, site.record, host)
    control = folder / f"c{next(_numbers)}"
    control.mkdir(mode=0o700)
    pins = control.with_suffix(".known")  # its own go with the environment
    pins.write_bytes(way.known_hosts.read_bytes())
    login = replace(way, control=control, known_hosts=pins)
    known = {
        "ansible_host": way.address,
        "ansible_user": way.user,
        "ansible_port": way.port,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_args": " ".join(ssh.options(login)),
    }
    inventory = folder / f"inventory-{next(_numbers)}.yml"
    inventory.write_text(json.dumps({"all": {"hosts": {host.name: known}}}))
    environment = child_environment("bench", "bench") | {
        "ANSIBLE_CONFIG": str(TEMPLATES / "ansible" / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_PIPELINING": "1",
    }
    return str(inventory), environment


def hang_up(folder: Path) -> None:
    """End the connections that Ansible by itself has left open."""
    for control in folder.glob("c*/"):
        ssh.close(control, os.environ)


def first_deploy(folder: Path, times: int) -> Row:
    """What deployer adds to a deployment on a machine that is yet to be made."""
    program = Path(terraform.find() or "terraform").name
    found: list[Watched] = []
    noops: list[float] = []
    for _ in range(times):
        with on_lxd(folder) as site:
            command = site.command("deploy", "--progress", "json")
            found.append(watched(command, ANSIBLE, program))
            inventory, environment = bare(site, folder)
            ping = playbook(folder / "ping.yml", PING, inventory)
            noops += [timed(ping, environment) + timed(ping, environment)]
            hang_up(folder)
    two = median(noops)
    parts = ", ".join(
        f"{word} {median(values) / two:.2f}"
        for word, values in (
            ("all", [d.wall for d in found]),
            ("Terraform", [d.inside[program] for d in found]),
            ("Ansible", [d.inside[ANSIBLE] for d in found]),
            ("wait", [d.waited for d in found]),
        )
    )
    calls = median(len(d.ssh) for d in found)
    return at_most(
        "what deployer adds to a first `deploy` on a new LXD host, against two no-op "
        f"`ansible-playbook` over SSH ({parts}; {calls:g} calls over SSH; two no-ops {two:.2f} s)",
        median(d.added for d in found) / two,
        1,
    )


def second_provision(folder: Path) -> Row:
    """`provision` with nothing to do, against a bare plan."""
    with on_lxd(folder) as site:
        site.run("provision")
        module = infrastructure.recorded(site.workspace, site.record)
        assert module
        variables = folder / "bench.tfvars.json"
        variables.write_text(json.dumps(module.variables()))
        state = module.data.absolute() / "terraform.tfstate"
        program = terraform.find()
        assert program
        plan = [program, "plan", "-input=false", f"-state={state}", f"-var-file={variables}"]
        environment = {
            **module.environment,
            "TF_DATA_DIR": str(module.data.absolute() / "data"),
            "CHECKPOINT_DISABLE": "1",
        }
        pairs = [
            (timed(plan, environment, module.folder), site.run("provision"))
            for _ in range(2 * ROUNDS + 1)
        ]
    one = median(a for a, _ in pairs)
    return at_most(
        f"a second `provision`, against `terraform plan` (that takes {one:.2f} s)",
        median(b for _, b in pairs) / one,
        2,
    )


def three_hosts(folder: Path, given: list[SshHost]) -> Row:
    """`release` and `run` on three hosts, against one."""
    with (
        on_given(folder, given, 8081) as three,
        on_given(folder, given[:1], 8082) as one,
    ):
        pairs = []
        for site in (three, one):
            site.run("provision", "configure")
        for _ in range(ROUNDS):
            for site in (three, one):
                site.change()
            pairs.append((three.run("release", "run"), one.run("release", "run")))
    single = median(b for _, b in pairs)
    return at_most(
        f"`release` and `run` on three hosts, against one ({single:.2f} s)",
        median(a for a, _ in pairs) / single,
        1.5,
    )


def one_by_one(folder: Path, given: SshHost) -> Row:
    """`configure`, `release` and `run`, against a process of Ansible for each task."""
    made = folder / "made"
    made.mkdir()
    with on_given(folder, [given], 8080) as site:
        site.run("provision")
        own = site.run("configure", "release", "run")
        record = site.record
        before = end_state(given, record)
        more = keep(given, record, made)
        inventory, environment = bare(site, folder)
    values = made / "values.json"
    values.write_text(json.dumps(more))
    commands = [
        playbook(made / f"{number}.yml", json.dumps(task), inventory, "-e", f"@{values}")
        for number, task in enumerate(tasks())
    ]
    others = sum(timed(command, environment) for command in commands)
    after = end_state(given, record)
    differing = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
    assert not differing, [(k, before.get(k), after.get(k)) for k in sorted(differing)]
    hang_up(folder)
    wipe(given, more)
    return Row(
        "`configure`, `release` and `run`, against one `ansible-playbook` a task: "
        f"{len(commands)} tasks, the same end state of {len(before)} things "
        f"({others:.1f} s, {own:.1f} s)",
        f"{others / own:.2f} × faster",
        "3 × faster",
        others / own >= 3,
    )


def ten_megabytes(folder: Path, given: SshHost) -> Row:
    """An `upgrade` to another 10 MB, against scp, ssh and two playbooks that do nothing."""
    bundle = folder / "ten.tar"
    with on_given(folder, [given], 8083) as site:
        timed(site.command("deploy"))
        units = [f"deployer-{site.name}-{service}.service" for service in ("web", "worker")]
        inventory, environment = bare(site, folder)
        ping = playbook(folder / "ten-ping.yml", PING, inventory)
        login = ["-q", "-i", str(given.key), "-o", "StrictHostKeyChecking=no"]
        login += ["-o", f"UserKnownHostsFile={folder / 'ten.known'}"]
        place = f"{given.user}@{given.address}"
        unpack = "rm -rf ten && mkdir ten && tar -C ten -xf ten.tar && systemctl restart "
        unpack += " ".join(units)
        pairs = []
        for _ in range(ROUNDS + 1):
            (site.app / "large.bin").write_bytes(os.urandom(10_000_000))
            with tarfile.open(bundle, "w") as archive:
                archive.add(site.app, "app")
            by_hand = timed(["scp", *login, str(bundle), f"{place}:ten.tar"])
            by_hand += timed(["ssh", *login, place, unpack])
            by_hand += timed(ping, environment) + timed(ping, environment)
            hang_up(folder)
            found = watched([*site.command("upgrade"), "--progress", "json"], ANSIBLE)
            pairs.append((by_hand, found.wall - found.health))
        given.exec("rm", "-rf", "/root/ten", "/root/ten.tar")
    one = median(a for a, _ in pairs[1:])
    return at_most(
        "`upgrade` of a changed app of 10 MB on an LXD host without the wait for its health, "
        f"against `scp`, `ssh` and two no-op `ansible-playbook` ({one:.2f} s)",
        median(b for _, b in pairs[1:]) / one,
        1.5,
    )


def at_most(what: str, found: float, limit: float) -> Row:
    """A row of what should not be more than a limit."""
    return Row(what, f"{found:.2f} ×", f"{limit} ×", found <= limit)


def tasks() -> list[dict[str, Any]]:
    """The tasks that configure, release and run consist of."""
    text = (TEMPLATES.parent / "e2e" / "bench" / "tasks.yml").read_text(encoding="utf-8")
    return list(yaml.safe_load(text))


def end_state(given: SshHost, record: EnvironmentRecord) -> dict[str, Any]:
    """What is there for an environment, as its host tells."""
    root, user = f"{hosts.REMOTE_ROOT}/{record.name}", f"deployer-{record.uuid[:8]}"
    said = given.exec("python3", "-c", STATE, root, record.name, user).stdout
    return dict(json.loads(said))


def keep(given: SshHost, record: EnvironmentRecord, made: Path) -> dict[str, Any]:
    """Take from a host what deployer worked out for it; returns the variables of tasks.yml."""
    root = f"{hosts.REMOTE_ROOT}/{record.name}"
    units = [f"deployer-{record.name}-{service}.service" for service in ("web", "worker")]
    release = f"{root}/releases/1"
    for there in (
        f"{root}/owner.json",
        f"{root}/runtime/launch.py",
        f"{root}/runtime/variables.json",
        f"{release}/.deployer/release.json",
        *(f"/etc/systemd/system/{unit}" for unit in units),
    ):
        (made / Path(there).name).write_text(given.exec("cat", there).stdout)
    rule = given.exec("cat", f"/etc/logrotate.d/deployer-{record.name}")
    (made / "logrotate").write_text(rule.stdout)
    sums = []
    files = json.loads((made / "release.json").read_text())["files"]
    with tarfile.open(made / "bundle.tar", "w") as bundle:
        for name, (mode, digest) in sorted(files.items()):
            content = given.exec("cat", f"{release}/{name}").stdout.encode()
            assert hashlib.sha256(content).hexdigest() == digest
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            bundle.addfile(member, io.BytesIO(content))
            sums.append(f"{digest}  {name}")
    (made / "sha256").write_text("\n".join(sums))
    return {
        "made": str(made),
        "root": root,
        "user": f"deployer-{record.uuid[:8]}",
        "uuid": record.uuid,
        "environment_name": record.name,
        "units": units,
        "serves": record.config["settings"]["port"],
    }


def wipe(given: SshHost, more: dict[str, Any]) -> None:
    """Remove what the tasks have made."""
    units = [f"/etc/systemd/system/{unit}" for unit in more["units"]]
    given.exec("systemctl", "disable", "--now", *more["units"])
    rule = f"/etc/logrotate.d/deployer-{more['environment_name']}"
    given.exec("rm", "-rf", more["root"], rule, *units)
    given.exec("userdel", more["user"])
    given.exec("systemctl", "daemon-reload")
