"""Whether hosts can be reached and used: SSH, the pinned key, sudo, Python, room on the disk."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deployer import runtimes
from deployer.errors import Code, StepError, hosts_error
from deployer.lifecycle import hosts, remote
from deployer.tools import process, ssh, ssh_problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.lifecycle.steps import StepRun
    from state.records import HostRecord

PAUSE = 1.0  # seconds between two attempts
ROOM = 200  # MB that must be free where releases go

# Prints what there is, and changes nothing. `sudo` reads its password from stdin.
_SURVEY = r"""
python=$(command -v python3 || true)
echo "python=$python"
[ -z "$python" ] || "$python" -c 'import sys; print("version=%d.%d" % sys.version_info[:2])'
[ -d /run/systemd/system ] && echo systemd=yes || echo systemd=no
d=/srv; [ -d "$d" ] || d=/
echo "room=$(df -Pm "$d" | awk 'NR == 2 {print $4}')"
command -v cloud-init >/dev/null 2>&1 && echo cloud-init=yes || echo cloud-init=no
"""
_CLOUD_INIT = 'cloud-init status --wait >/dev/null 2>&1; echo "exit=$?"'


@dataclass(frozen=True)
class Reached:
    """What a host told of itself."""

    facts: dict[str, str]
    seconds: float


def reach(step: StepRun, found: Sequence[HostRecord], *, wait: float) -> list[HostRecord]:
    """Wait until every host can be used, at most `wait` seconds; pin the keys of new ones.

    Returns the hosts with what was learnt of them. Every host is tried; raises `StepError` with
    what the last attempt on each that failed said.
    """
    run = step.run
    started = time.monotonic()
    logins = {h.name: hosts.login(run.session.workspace, run.record, h) for h in found}
    reached: dict[str, Reached] = {}
    while True:
        failed = _attempt(step, logins, reached, started)
        final = [e for e in failed if not (wait > 0 and _may_pass(e))]
        if not failed:
            break
        if len(final) == len(failed) or time.monotonic() - started >= wait:
            raise hosts_error(failed, len(logins))
        run.session.interrupt.sleep(PAUSE)
    _wait_for_cloud_init(step, logins, reached, wait)
    problems = [p for host in found if (p := _unusable(step, host, reached[host.name].facts))]
    if problems:
        raise hosts_error(problems, len(found))
    return [
        replace(host, access={**(host.access or {}), "python": reached[host.name].facts["python"]})
        for host in found
    ]


def _may_pass(error: StepError) -> bool:
    """What a machine that is still starting says: keys and users may come after the server."""
    return error.transient or error.code is Code.AUTHENTICATION_FAILED


def _attempt(
    step: StepRun,
    logins: dict[str, ssh.Login],
    reached: dict[str, Reached],
    started: float,
) -> list[StepError]:
    run = step.run
    failed: dict[str, StepError] = {}

    def judge(name: str, done: ssh.Done) -> None:
        login = logins[name]
        if done.code == ssh.FAILED:
            failed[name] = ssh_problem.problem(login, done)
            return
        facts = dict(
            line.partition("=")[::2] for line in done.stdout.decode("utf-8", "replace").splitlines()
        )
        if "room" not in facts:
            failed[name] = remote.refused(login, "python3", done)
            return
        seconds = time.monotonic() - started
        reached[name] = Reached(facts, seconds)
        step.progress(f"SSH answers on {login.address}", "ok", name, seconds)

    ssh.run(
        {
            name: ssh.Job(
                ssh.command(login, ssh.as_root(login, ["sh", "-c", _SURVEY]), first=True),
                f"{login.password}\n".encode() if login.password is not None else b"",
            )
            for name, login in logins.items()
            if name not in reached
        },
        environment=process.child_environment(run.record.uuid, run.session.operation_id),
        timeout=step.timeout,
        interrupt=run.session.interrupt,
        finished=judge,
    )
    return [failed[name] for name in logins if name in failed]


def _wait_for_cloud_init(
    step: StepRun, logins: dict[str, ssh.Login], reached: dict[str, Reached], wait: float
) -> None:
    jobs = {
        name: ssh.Job(ssh.command(login, ["sh", "-c", _CLOUD_INIT]))
        for name, login in logins.items()
        if reached[name].facts["cloud-init"] == "yes"
    }
    if not jobs:
        return
    run = step.run
    ended = ssh.run(
        jobs,
        environment=process.child_environment(run.record.uuid, run.session.operation_id),
        timeout=max(wait, step.timeout),
        interrupt=run.session.interrupt,
    )
    lost = [
        ssh_problem.problem(logins[name], d) for name, d in ended.items() if d.code == ssh.FAILED
    ]
    if lost:
        raise hosts_error(lost, len(logins))
    for name, done in ended.items():
        if not done.stdout.rstrip().endswith(b"exit=0"):
            step.progress(
                "cloud-init ended with errors: see `cloud-init status --long` there",
                "warning",
                name,
            )
        else:
            step.progress("cloud-init is done", "ok", name)


def _unusable(step: StepRun, host: HostRecord, facts: dict[str, str]) -> StepError | None:
    """Everything that keeps a host from being used, as one error."""
    problems: list[tuple[str, str]] = []
    if not facts["python"]:
        hint = "Install it on that host, for example: apt-get install python3"
        problems.append(("there is no Python 3", hint))
    elif tuple(map(int, facts.get("version", "0.0").split("."))) < (3, 8):
        message = f"its Python is {facts['version']}; 3.8 is needed"
        problems.append((message, "Install a newer Python."))
    if facts["room"].isdigit() and int(facts["room"]) < ROOM:
        message = f"only {facts['room']} MB are free on the disk of /srv; {ROOM} are needed"
        problems.append((message, "Make room on that host."))
    runtime = step.run.configuration.runtime
    if facts["systemd"] == "no" and "systemd" in runtimes.REQUIRES[runtime]:
        hint = 'Set runtime = "supervisor" in the environment file, if the app runs under that.'
        problems.append((f"no systemd runs there, and the runtime {runtime} needs it", hint))
    if not problems:
        return None
    return StepError(
        "; ".join(message for message, _ in problems),
        code=Code.HOST_UNUSABLE,
        host=host.name,
        hint=" ".join(hint for _, hint in problems),
    )
