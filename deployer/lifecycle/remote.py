"""Calls of deployer's own code on hosts: one request in, one answer out.

Over SSH, or in a process of its own where the host is this machine.

Nothing is installed for it: the code itself goes along, into the memory of the host's Python.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from deployer.errors import Code, StepError, hosts_error
from deployer.paths import TEMPLATES
from deployer.tools import process, ssh, ssh_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from deployer.lifecycle.session import Session

TIMEOUT = 60.0  # seconds for one call
MARK = b"#deployer\n"
_BOOT = (
    "import sys;i=sys.stdin.buffer;m=b'#deployer\\n'\n"
    # whatever sudo left of the password's line goes by
    "while (i.readline() or m)!=m:pass\n"
    "exec(i.read(int(i.readline())))"
)


@dataclass(frozen=True)
class Call:
    """One request to one host; `body` is a file that goes along.

    Without a `login` the host is this machine. What is `held` stops when the connection ends.
    """

    login: ssh.Login | None
    python: str
    request: Mapping[str, Any]
    body: Path | None = None
    held: bool = False

    def job(self, *, master: bool) -> ssh.Job:
        """What is run on the host, and fed to it."""
        words = [self.python, "-I", "-c", _BOOT]
        password = b""
        if self.login:
            words = ssh.command(self.login, ssh.as_root(self.login, words), master=master)
            if self.login.password is not None:
                password = f"{self.login.password}\n".encode()
        boot, sources = code()
        said = json.dumps(dict(self.request)).encode()
        sized = [b"%d\n%s" % (len(part), part) for part in (boot, sources, said)]
        return ssh.Job(words, password + MARK + b"".join(sized), self.body, self.held)


@lru_cache(1)
def code() -> tuple[bytes, bytes]:
    """The program that takes a request on a host, and the modules that it imports, as JSON."""
    folder = TEMPLATES / "ansible" / "module_utils" / "deployer_host"
    sources = {
        "deployer_host"
        if path.stem == "__init__"
        else f"deployer_host.{path.stem}": path.read_text(encoding="utf-8")
        for path in sorted(folder.glob("*.py"))
    }
    boot = (TEMPLATES / "ansible" / "files" / "boot.py").read_bytes()
    return boot, json.dumps(sources).encode()


def call(
    calls: Mapping[str, Call],
    *,
    uuid: str,
    by: Session | None = None,
    timeout: float = TIMEOUT,
    finished: Callable[[str], None] = lambda host: None,
    told: Callable[[str, dict[str, Any]], None] = lambda host, value: None,
    failed: dict[str, StepError] | None = None,
) -> dict[str, dict[str, Any]]:
    """Make a call to each host, side by side. Returns their answers.

    `told` is given what each host says before its answer, as it comes; `finished` is told of
    each host that did what was asked. Raises `StepError` naming each host
    that failed or didn't answer, after all were tried; with `failed` they are put there instead.
    """
    if not calls:
        return {}
    answers: dict[str, dict[str, Any]] = {}
    patient, failed = failed is not None, {} if failed is None else failed

    def judge(name: str, done: ssh.Done) -> None:
        try:
            answers[name] = _answer(calls[name], done)
        except StepError as problem:
            failed[name] = problem
        else:
            finished(name)

    rest: dict[str, bytes] = {}

    def heard(name: str, block: bytes) -> None:
        *lines, rest[name] = (rest.get(name, b"") + block).split(b"\n")
        for line in lines:
            if said := _said(line):
                told(name, said)

    ssh.run(
        {name: one.job(master=by is not None) for name, one in calls.items()},
        environment=process.child_environment(uuid, by.operation_id if by else None),
        timeout=timeout,
        interrupt=by.interrupt if by else None,
        finished=judge,
        heard=heard,
    )
    if failed and not patient:
        raise hosts_error([failed[name] for name in calls if name in failed], len(calls))
    return answers


def stream(calls: Mapping[str, Call], *, uuid: str) -> Iterator[tuple[str, Any]]:
    """Make a call to each host, and pass on what each prints before its answer, as it comes.

    Yields (host, value) for every line of JSON. Raises `StepError` naming each host that failed.
    """
    lines: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    environment = process.child_environment(uuid, None)
    running = {
        name: ssh.start(one.job(master=False).argv, environment) for name, one in calls.items()
    }
    failed: dict[str, StepError] = {}

    def read(name: str) -> None:
        child, one = running[name], calls[name]
        assert child.stdin and child.stdout and child.stderr
        rest = b""
        with contextlib.suppress(OSError):
            child.stdin.write(one.job(master=False).head)
            child.stdin.flush()  # and left open: its end would end what follows a log
            for line in child.stdout:
                if line == MARK or rest:
                    rest += line
                    continue
                if said := _said(line):
                    lines.put((name, said))
        done = ssh.Done(child.wait(), rest, child.stderr.read())
        try:
            lines.put((name, _answer(one, done)))
        except StepError as problem:
            failed[name] = problem
        lines.put((name, None))

    for name in calls:
        threading.Thread(target=read, args=(name,), daemon=True).start()
    try:
        left = len(calls)
        while left:
            name, value = lines.get()
            if value is None:
                left -= 1
            else:
                yield name, value
    finally:
        for child in running.values():
            with contextlib.suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL)
    if failed:
        raise hosts_error([failed[name] for name in calls if name in failed], len(calls))


def _said(line: bytes) -> Any:
    """What our code says on a host in one line; None if it is its shell, greeting whoever comes."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict | list) else None  # a greeting may be a number


def _answer(one: Call, done: ssh.Done) -> dict[str, Any]:
    _, found, text = done.stdout.rpartition(MARK)
    if found:
        answer: dict[str, Any] = json.loads(text)
        if "msg" not in answer:  # what is seen on a host may have a problem of its own
            return answer
        problem = answer["problem"]
        raise StepError(
            answer["msg"],
            code=Code(problem["code"]),
            hint=problem["hint"],
            host=one.request["spec"]["host"],
            output=problem["output"],
        )
    if one.login is None:
        raise StepError(
            "the process that does it here was ended"
            if done.outlived is None
            else f"it took over {done.outlived:g} s",
            code=Code.HOST_FAILED if done.outlived is None else Code.TIMEOUT,
            host=one.request["spec"]["host"],
            output=done.said[-10:],
        )
    if done.code == ssh.FAILED:
        raise ssh_problem.problem(one.login, done)
    raise refused(one.login, one.python, done)


def refused(login: ssh.Login, python: str, done: ssh.Done) -> StepError:
    """Why a host let us in, but not to work: no sudo, no Python, or something else."""
    said = done.said
    text = " ".join(said)
    if done.code == 127 and "sudo" in text:
        message = f"{login.user} is not root there, and there is no sudo"
        hint = "Install sudo on that host, or log in as root."
    elif "sudo" in text or "incorrect password" in text:
        wrong = login.password is not None
        message = f"{login.user} may not use sudo" + (
            ": the password is refused" if wrong else " without a password"
        )
        hint = (
            "Check the secret that sudo_password refers to."
            if wrong
            else "Let sudo_password in provider_options refer to the password, or allow "
            f"{login.user} NOPASSWD in sudoers."
        )
    elif done.code in (126, 127):
        message = f"there is no Python at {python}"
        hint = "Install it on that host, for example: apt-get install python3"
    else:
        message = said[-1] if said else f"it ended with exit code {done.code}"
        hint = ""
    return StepError(
        message, code=Code.HOST_UNUSABLE, hint=hint, host=login.name, output=said[-10:]
    )
