"""OpenSSH: how a host is reached, and commands run there. Argument lists only.

The same options serve our own connections and Ansible's, so that they share one master
connection a host and one file of pinned keys. See ssh_config(5) for what each means.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from deployer.errors import Code, StepError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from deployer.tools.interrupt import Interrupt

CONNECT_TIMEOUT = 8  # seconds for one attempt to connect
FAILED = 255  # ssh's own exit code where the connection failed
POLL = 0.05
GRACE = 10.0  # seconds that what is held gets to clean up after itself
MASTER_SECONDS = 60  # an idle master ends by itself, should nobody have closed it
BLOCK = 1 << 18
_OWN_WORDS = re.compile(
    r"(?:ssh: |ssh_|kex_|mux_client|client_loop|banner |channel \d+: open |stdio forwarding "
    r"|Connection (?:to|closed|reset|timed out)|Host key verification |Timeout, server "
    r"|Received disconnect|Disconnected |(?:\S+: )?Permission denied \(|Bad )"
)


@dataclass(frozen=True)
class Login:
    """How to get into one host. Pins are kept under its name, whatever its address."""

    name: str
    address: str
    port: int
    user: str
    known_hosts: Path
    control: Path
    """A short private folder for the sockets of master connections."""
    key: Path | None = None
    jump: str | None = None
    password: str | None = field(default=None, repr=False)
    """For sudo, where that wants one."""

    @property
    def log(self) -> Path:
        """What the connection to the jump host says, if it may not say it itself."""
        return self.control / f"{self.name}.log"

    @property
    def root(self) -> bool:
        """Whether it is root who logs in."""
        return self.user == "root"


def options(
    login: Login, *, first: bool = False, master: bool = True, tty: bool = False
) -> list[str]:
    """The options for a host. `first`: learn its key if none is pinned yet.

    `master`: leave a connection open for those that follow; one that is open is used anyway.
    `tty`: a person is there to be asked.
    """
    return [
        *_own_options(login, login.name, first=first, tty=tty),
        *(("-o", "IdentitiesOnly=yes") if login.key else ()),
        *(
            ("-o", f"ProxyCommand={_proxy(login, first=first, tty=tty, master=master)}")
            if login.jump
            else ()
        ),
        "-p",
        str(login.port),
        *("-o", f"ControlMaster={'auto' if master else 'no'}"),
        *("-o", f"ControlPath={_path(login.control, '/%C')}"),
        *("-o", f"ControlPersist={MASTER_SECONDS if master else 'no'}"),
    ]


def _own_options(login: Login, alias: str, *, first: bool, tty: bool) -> list[str]:
    return [
        # of each option the first one counts
        *("-o", f"BatchMode={'no' if tty else 'yes'}"),
        *("-o", f"ConnectTimeout={CONNECT_TIMEOUT}"),
        *("-o", "ServerAliveInterval=5"),
        *("-o", "ServerAliveCountMax=3"),
        *("-o", f"UserKnownHostsFile={_path(login.known_hosts)}"),
        *("-o", "GlobalKnownHostsFile=/dev/null"),
        *("-o", f"HostKeyAlias={alias}"),
        *("-o", "HashKnownHosts=no"),
        *("-o", "UpdateHostKeys=no"),
        *("-o", f"StrictHostKeyChecking={'accept-new' if first else 'yes'}"),
        # not -i, which looks for the file under another name than the one it then opens
        *(("-o", f"IdentityFile={_path(login.key)}") if login.key else ()),
    ]


def _proxy(login: Login, *, first: bool, tty: bool, master: bool) -> str:
    user, at, place = (login.jump or "").rpartition("@")
    address, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        address, port = place, "22"
    words = ["ssh", *_own_options(login, f"jump-{place}", first=first, tty=tty)]
    if master:
        # ssh silences the way of a connection that is to stay open
        words += ["-E", str(login.log)]
    words += ["-p", port, *(("-l", user) if at else ()), "-W", "HOST:PORT", address.strip("[]")]
    # a shell runs it, and ssh puts address and port in place of %h and %p
    return _escaped(shlex.join(words)).replace("HOST:PORT", "'[%h]:%p'")


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _path(path: Path, rest: str = "") -> str:
    """A path as the value of an option, for ssh to take as it is; `rest` is left as it is."""
    text = _escaped(str(path)).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}{rest}"'


def command(
    login: Login, words: list[str], *, first: bool = False, master: bool = True, tty: bool = False
) -> list[str]:
    """The command line that runs `words` on a host, or a shell where there are none."""
    line = ["ssh", *options(login, first=first, master=master, tty=tty)]
    line += [*(("-t",) if tty else ()), "-l", login.user, "--", login.address]
    return [*line, shlex.join(words)] if words else line


def as_root(login: Login, words: list[str]) -> list[str]:
    """`words` for root, by sudo where somebody else logs in."""
    if login.root:
        return words
    asked = ["-S", "-p", ""] if login.password is not None else ["-n"]
    return ["sudo", *asked, "--", *words]


@dataclass
class Job:
    """One command to run, and what it is fed: `head`, then the file `body`.

    The input of one that is `held` stays open: its end tells it to stop what it does.
    """

    argv: list[str]
    head: bytes = b""
    body: Path | None = None
    held: bool = False


@dataclass
class Done:
    """How a command ended."""

    code: int
    stdout: bytes
    stderr: bytes
    outlived: float | None = None
    """The seconds after which it was ended, if it was; its code is then that of no answer."""

    @property
    def said(self) -> list[str]:
        """The lines of its standard error that say something."""
        lines = self.stderr.decode("utf-8", "replace").splitlines()
        return [
            line.rstrip() for line in lines if line.strip() and not line.startswith("Warning: Perm")
        ]


def start(argv: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, with pipes. Raises `StepError` if it isn't there."""
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,
        )
    except FileNotFoundError:
        raise StepError(
            f"{argv[0]} is not installed here",
            code=Code.TOOL_MISSING,
            hint="Install OpenSSH's client, for example: apt-get install openssh-client",
        ) from None


class _Process:
    """One running job: fed and read without ever blocking."""

    def __init__(self, job: Job, environment: Mapping[str, str]) -> None:
        self.held = job.held
        self.out: list[bytes] = []
        self.err: list[bytes] = []
        self._head = memoryview(job.head)
        self._body: BinaryIO | None = job.body.open("rb") if job.body else None
        self.process = start(job.argv, environment)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe
            os.set_blocking(pipe.fileno(), False)

    def feed(self) -> bool:
        """Write what fits; False when all is written or nobody reads any more."""
        assert self.process.stdin
        try:
            if not self._head and self._body:
                self._head = memoryview(self._body.read(BLOCK))
            if self._head:
                self._head = self._head[os.write(self.process.stdin.fileno(), self._head) :]
                return True
        except BlockingIOError:
            return True
        except OSError:
            pass  # it has ended; its exit code says why
        if not self.held:
            self.close()
        return False

    def close(self) -> None:
        """No more input."""
        if self._body:
            self._body.close()
        with contextlib.suppress(OSError):
            if self.process.stdin:
                self.process.stdin.close()

    def kill(self) -> None:
        """End it, if it runs."""
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.close()
        self.process.wait()


def run(
    jobs: Mapping[str, Job],
    *,
    environment: Mapping[str, str],
    timeout: float,
    interrupt: Interrupt | None = None,
    finished: Callable[[str, Done], None] = lambda name, done: None,
    heard: Callable[[str, bytes], None] = lambda name, block: None,
) -> dict[str, Done]:
    """Run commands side by side until all have ended; `finished` is told of each as it ends.

    `heard` is given what each writes to its standard output, as it comes. Those that outlive
    `timeout` seconds are ended, each with what is known of it. Raises `InterruptedOperation` on a
    signal, `StepError` where there is no ssh; by then none of them runs any more.
    """
    running: dict[str, _Process] = {}
    done: dict[str, Done] = {}
    limit = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        try:
            for name, job in jobs.items():
                one = running[name] = _Process(job, environment)
                assert one.process.stdin and one.process.stdout and one.process.stderr
                selector.register(one.process.stdin, selectors.EVENT_WRITE, (name, None))
                selector.register(one.process.stdout, selectors.EVENT_READ, (name, one.out))
                selector.register(one.process.stderr, selectors.EVENT_READ, (name, one.err))
            while running:
                if interrupt:
                    interrupt.check()
                late = time.monotonic() > limit
                for key, _ in selector.select(POLL):
                    _serve(selector, running, key, heard)
                for name, one in list(running.items()):
                    ended = one.process.poll() is not None
                    if not ended and not late:
                        continue
                    if ended:
                        one.close()  # its group may hold the way that a master goes by
                    else:
                        one.kill()
                    _drain(selector, running, name, heard)
                    del running[name]
                    done[name] = Done(
                        one.process.wait() if ended else FAILED,
                        b"".join(one.out),
                        b"".join(one.err),
                        None if ended else timeout,
                    )
                    finished(name, done[name])
        finally:
            _end(selector, running)
    return {name: done[name] for name in jobs}


def _end(selector: selectors.BaseSelector, running: Mapping[str, _Process]) -> None:
    """End what still runs; what is held is told so, and has time to do it by itself."""
    limit = time.monotonic() + GRACE
    held = [one for one in running.values() if one.held]
    for one in held:
        with contextlib.suppress(KeyError, ValueError):
            selector.unregister(one.process.stdin)  # type: ignore[arg-type]
        one.close()
    while any(one.process.poll() is None for one in held) and time.monotonic() < limit:
        for key, _ in selector.select(POLL):
            _serve(selector, running, key, lambda name, block: None)
    for one in running.values():
        one.kill()


def _serve(
    selector: selectors.BaseSelector,
    running: Mapping[str, _Process],
    key: selectors.SelectorKey,
    heard: Callable[[str, bytes], None],
) -> None:
    name, sink = key.data
    if sink is None:
        more = running[name].feed()
    else:
        try:
            more = _take(running[name], key, heard)
        except BlockingIOError:
            return
    if not more:
        selector.unregister(key.fileobj)


def _take(one: _Process, key: selectors.SelectorKey, heard: Callable[[str, bytes], None]) -> bool:
    """Take a block that a command wrote; False at the end."""
    name, sink = key.data
    block = os.read(key.fd, BLOCK)
    sink.append(block)
    if block and sink is one.out:
        heard(name, block)
    return bool(block)


def _drain(
    selector: selectors.BaseSelector,
    running: Mapping[str, _Process],
    name: str,
    heard: Callable[[str, bytes], None],
) -> None:
    """Take what a command that has ended still left to be read.

    Its end is not waited for: a master connection left behind may keep its stderr open.
    """
    for key in list(selector.get_map().values()):
        if key.data[0] == name:
            with contextlib.suppress(OSError):
                while key.data[1] is not None and _take(running[name], key, heard):
                    pass
            selector.unregister(key.fileobj)


def failed(done: Done) -> bool:
    """Whether it is ssh itself that failed, and not a command that has the same exit code."""
    return done.code == FAILED and (
        done.outlived is not None or any(_OWN_WORDS.match(line) for line in done.said)
    )


def forget(known_hosts: Path, names: set[str]) -> None:
    """Drop the pins of hosts."""
    try:
        lines = known_hosts.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return
    kept = [line for line in lines if line.partition(" ")[0] not in names]
    if kept != lines:
        known_hosts.write_text("".join(kept), encoding="utf-8")


def close(control: Path, environment: Mapping[str, str]) -> None:
    """End the master connections whose sockets are in a folder."""
    for socket in control.glob("*") if control.is_dir() else ():
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                ["ssh", "-o", f"ControlPath={_path(socket)}", "-O", "exit", "--", "any"],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=5,
            )
        socket.unlink(missing_ok=True)
