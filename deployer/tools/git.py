"""git: run without asking anything, without hooks, over https, ssh and files alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from deployer.tools.process import base_environment, interpreter_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import IO

POLL = 0.05
TIMEOUT = 30.0  # seconds for what needs no network
FETCH_TIMEOUT = 600.0
NOTICE = 5.0  # seconds between two calls of `waiting`
SHOWN_LINES = 3

# the user's own configuration may name hooks, a monitor and conversions: none of it is for us
_CONFIGURED = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.autocrlf": "false",
    "fetch.recurseSubmodules": "false",
    # what goes on after git has ended would be in the way of the next one
    "gc.autoDetach": "false",
    "maintenance.autoDetach": "false",
    "credential.interactive": "false",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "30",
}
_VARIABLES = {
    "GIT_ALLOW_PROTOCOL": "file:https:ssh",
    "GIT_ASKPASS": "",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=8"
    " -o ServerAliveInterval=5 -o ServerAliveCountMax=3",
}


class GitError(Exception):
    """git failed; the text is what it said."""


def installed() -> bool:
    """Whether there is a git."""
    return shutil.which("git", path=interpreter_path()) is not None


def command(*words: str) -> list[str]:
    """The command line of a git that leaves the user's hooks alone."""
    settings = [word for key, value in _CONFIGURED.items() for word in ("-c", f"{key}={value}")]
    return ["git", *settings, *words]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of git; `more` says which operation it works for."""
    return {**base_environment(), "PATH": interpreter_path(), **(more or {}), **_VARIABLES}


def run(
    *words: str,
    more: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
    check: Callable[[], None] = lambda: None,
    waiting: Callable[[float], None] = lambda _: None,
) -> str:
    """What git prints. `check` raises if it shall end, `waiting` hears of it now and then.

    Raises `GitError`, also where git isn't done within `timeout` seconds.
    """
    began = told = time.monotonic()
    with _running(words, more, subprocess.PIPE) as process:
        while True:
            try:
                out, err = process.communicate(timeout=POLL)
                break
            except subprocess.TimeoutExpired:
                check()
            now = time.monotonic()
            if now - began > timeout:
                raise GitError(f"git was not done within {timeout:.0f} seconds")
            if now - told > NOTICE:
                told = now
                waiting(now - began)
    if process.returncode:
        raise GitError(_said(err) or f"git ended with exit code {process.returncode}")
    return out.decode("utf-8", "surrogateescape")


@contextmanager
def output(*words: str, more: Mapping[str, str] | None = None) -> Iterator[IO[bytes]]:
    """What git prints, as it comes. Raises `GitError` where git failed, whatever the block did."""
    with tempfile.TemporaryFile() as errors, _running(words, more, errors) as process:
        assert process.stdout
        try:
            yield process.stdout
        finally:
            process.stdout.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(TIMEOUT)
            # where it was not listened to until its end, that is no failure of its own
            if process.returncode not in (0, -signal.SIGPIPE):
                errors.seek(0)
                raise GitError(_said(errors.read()) or f"git ended with {process.returncode}")


@contextmanager
def _running(
    words: tuple[str, ...], more: Mapping[str, str] | None, errors: int | IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(
            command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment(more),
            start_new_session=True,
        )
    except OSError as problem:
        raise GitError(f"git doesn't start: {problem.strerror}") from None
    try:
        yield process
    except BaseException:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(2)
        raise
    finally:
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


def _said(errors: bytes) -> str:
    text = errors.decode("utf-8", "replace")
    # an empty line, and what to make sure of
    text, fatal, last = text.partition("fatal: ")
    lines = (text + fatal + last.partition("\n\n")[0]).splitlines()
    words = (line.removeprefix("fatal: ").removeprefix("error: ") for line in lines)
    told = [line.strip().rstrip(".") for line in words if line.strip()]
    return "; ".join(told[:SHOWN_LINES])


def state_of(folder: Path) -> tuple[str, bool] | None:
    """The commit that a folder's work tree is at, and whether the folder differs from it.

    None where the folder is in no work tree, or git can't say.
    """
    place = ("-C", str(folder))
    try:
        commit = run(*place, "rev-parse", "--verify", "HEAD^{commit}").strip()
        changed = run(*place, "status", "--porcelain", "--", ".")
    except GitError:
        return None
    try:
        run(*place, "cat-file", "-e", "HEAD:./app.toml")
    except GitError:
        return commit, True  # ignored by git, it is none of the commit's
    return commit, bool(changed)
