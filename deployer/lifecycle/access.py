"""A person's own way to the hosts: a shell there, or a command on several."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.errors import Code, NotAllowedError, NotFoundError
from deployer.lifecycle import hosts
from deployer.tools import process, ssh, ssh_problem
from deployer.tools.interrupt import Interrupt

if TYPE_CHECKING:
    from deployer.paths import Workspace
    from state.records import EnvironmentRecord, HostRecord

TIMEOUT = 86_400.0  # seconds: whoever runs a command decides how long it takes


@dataclass(frozen=True)
class Result:
    """How a command ended on a host. `error`: why it could not be run there."""

    code: int
    stdout: str
    stderr: str
    error: str | None = None


def choose(
    record: EnvironmentRecord, host: str | None = None, group: str | None = None
) -> list[HostRecord]:
    """The hosts of a name, of a group, or all. Raises an error that names the ones there are."""
    if not record.hosts:
        raise NotAllowedError(
            f"{record.name} has no hosts yet", hint=f"Run first: deployer provision {record.name}"
        )
    found = [
        one
        for one in record.hosts
        if (host is None or one.name == host) and (group is None or group in one.groups)
    ]
    if not found:
        groups = sorted({name for one in record.hosts for name in one.groups})
        raise NotFoundError(
            f"{record.name} has no host {host!r}"
            if host is not None
            else f"{record.name} has no host in a group {group!r}",
            hint=f"Its hosts: {', '.join(one.name for one in record.hosts)}"
            + (f"; groups: {', '.join(groups)}." if groups else "."),
            code=Code.HOST_NOT_FOUND,
        )
    return found


def shell(workspace: Workspace, record: EnvironmentRecord, host: str | None) -> list[str]:
    """The command line that opens a shell on a host."""
    found = choose(record, host)
    if found[0].connection == hosts.LOCAL:
        raise NotAllowedError(
            f"The host of {record.name} is this machine itself",
            hint=f"Its files are in {hosts.root(workspace, found[0])}",
        )
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        raise NotFoundError(
            f"{record.name} has several hosts: {names}",
            hint=f"Name one: deployer ssh {record.name} {found[0].name}",
            code=Code.HOST_NOT_FOUND,
        )
    return ssh.command(hosts.login(workspace, record, found[0]), [], master=False, tty=True)


def execute(
    workspace: Workspace,
    record: EnvironmentRecord,
    command: list[str],
    host: str | None,
    group: str | None,
) -> dict[str, Result]:
    """Run a command on hosts as the user who logs in, side by side; each host's own result."""
    found = choose(record, host, group)
    if found[0].connection == hosts.LOCAL:
        return {found[0].name: _here(workspace, found[0], command)}
    logins = {one.name: hosts.login(workspace, record, one) for one in found}
    with Interrupt() as interrupt:
        ended = ssh.run(
            {n: ssh.Job(ssh.command(way, command, master=False)) for n, way in logins.items()},
            environment=process.child_environment(record.uuid, None),
            timeout=TIMEOUT,
            interrupt=interrupt,
        )
    results = {}
    for name, done in ended.items():
        results[name] = Result(
            done.code,
            done.stdout.decode("utf-8", "replace"),
            done.stderr.decode("utf-8", "replace"),
            ssh_problem.problem(logins[name], done).message if ssh.failed(done) else None,
        )
    return results


def _here(workspace: Workspace, host: HostRecord, command: list[str]) -> Result:
    folder = hosts.root(workspace, host)
    try:
        done = subprocess.run(
            command,
            cwd=folder if folder.is_dir() else workspace.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except OSError as problem:
        return Result(127, "", f"{command[0]}: {problem.strerror}\n")
    return Result(done.returncode, done.stdout, done.stderr)
