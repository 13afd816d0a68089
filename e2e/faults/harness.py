"""What the proofs share: a small application in a workspace of its own, and what must hold."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from deployer.tools.process import ENVIRONMENT_VARIABLE, OPERATION_VARIABLE
from state.machine import ACTING, State

DEPLOYER = str(Path(sys.executable).with_name("deployer"))
NAME = "demo"
SKIPPED = 77  # exit code, as automake's tests have it
PATIENCE = 120.0  # seconds that anything may take

APP_TOML = """\
name = "probe"
version = "1"

[settings.port]
type = "port"
default = 20000

[settings.word]
type = "string"
default = "one"

[[services]]
name = "web"
command = ["python3", "-S", "web.py", "{{ settings.port }}"]
environment = { WORD = "{{ settings.word }}" }
health = { http = "http://127.0.0.1:{{ settings.port }}/" }
url = "http://127.0.0.1:{{ settings.port }}/"

[[services]]
name = "idle"
command = ["sleep", "100000"]
"""
WEB = """\
import os, socket, sys
with open("text") as file:
    said = "%s %s" % (file.read().strip(), os.environ["WORD"])
answer = "HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(said), said)
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    while True:
        peer, _ = server.accept()
        with peer:
            peer.settimeout(5)
            try:
                peer.recv(4096)
                peer.sendall(answer.encode())
            except OSError:
                pass
"""


class Broken(Exception):
    """Something that must hold does not."""


def expect(held: bool, otherwise: str) -> None:
    """Raise `Broken` unless `held`."""
    if not held:
        raise Broken(otherwise)


def until(look: Callable[[], bool], otherwise: str, patience: float = PATIENCE) -> None:
    """Poll until `look` is true; raise `Broken` if that takes over `patience` seconds."""
    limit = time.monotonic() + patience
    while not look():
        expect(time.monotonic() < limit, otherwise)
        time.sleep(0.02)


@dataclass
class Done:
    """How a `deployer` process ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        """The `data` of its envelope."""
        return dict(json.loads(self.out)["data"])

    @property
    def error(self) -> dict[str, Any]:
        """The `error` of its envelope."""
        return dict(json.loads(self.out)["error"])

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it reported."""
        return [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]

    def __str__(self) -> str:
        return f"exit {self.code}\n{self.out[-1500:]}\n{self.err[-2500:]}"


class Child:
    """A running `deployer`, in a process group of its own, its output in files."""

    def __init__(self, argv: Sequence[str], env: dict[str, str], cwd: Path) -> None:
        self._out = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in wait()
        self._err = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115 - closed in wait()
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )

    def said(self) -> str:
        """What it has written to stderr until now."""
        return Path(self._err.name).read_text()

    def wait(self, patience: float = PATIENCE) -> Done:
        """Wait for its end."""
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Broken(f"it hangs after {patience:g} s:\n{self.said()[-3000:]}") from None
        self._out.seek(0)
        done = Done(code, self._out.read(), self.said())
        self._out.close()
        self._err.close()
        return done


@dataclass
class Lab:
    """A workspace with one small application that says what was last released."""

    root: Path
    name: str = NAME
    text: str = "first"
    word: str = "one"
    port: int = 0
    deployer: Sequence[str] = (DEPLOYER,)
    extra: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    state_dir: Path = field(init=False)

    def __post_init__(self) -> None:
        self.state_dir = self.root / ".deployer"
        self.port = self.port or free_port()
        app = self.root / "app"
        app.mkdir(parents=True, exist_ok=True)
        (app / "app.toml").write_text(APP_TOML)
        (app / "web.py").write_text(WEB)
        self.write()

    def write(self) -> None:
        """Write what the user edits: the application's text, and the environment file."""
        (self.root / "app" / "text").write_text(self.text)
        file = self.root / "environments" / f"{self.name}.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(
            f'app = "./app"\n{self.extra}\n[settings]\nport = {self.port}\nword = "{self.word}"\n'
            "[health]\ninterval = 0.1\nsuccess_threshold = 1\ntimeout = 30\n"
        )

    # ---- running deployer

    def start(self, *arguments: str) -> Child:
        """Start `deployer` in this workspace."""
        argv = [
            *self.deployer,
            *("-C", str(self.root), "--progress", "json", "--output", "json"),
            *arguments,
        ]
        return Child(argv, {**os.environ, **self.variables}, self.root)

    def run(self, *arguments: str, codes: Sequence[int] = (0,)) -> Done:
        """Run `deployer` to its end, which must be one of `codes`."""
        done = self.start(*arguments).wait()
        expect(done.code in codes, f"deployer {' '.join(arguments)}: {done}")
        return done

    def create(self) -> Done:
        """Create the environment."""
        return self.run("create", self.name)

    def deploy(self) -> Done:
        """Deploy it."""
        return self.run("deploy", self.name)

    def destroy(self) -> Done:
        """Destroy it."""
        return self.run("destroy", self.name, "--yes")

    # ---- looking

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of the store, read beside whoever else uses it."""
        with contextlib.closing(sqlite3.connect(self.state_dir / "state.db", timeout=30)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(sql, values)]

    def record(self) -> dict[str, Any]:
        """The newest generation's row."""
        return self.rows(
            "SELECT * FROM environments WHERE name = ? ORDER BY generation DESC LIMIT 1", self.name
        )[0]

    def newest_token(self) -> int:
        """The token of the last holder of the lease."""
        rows = self.rows("SELECT token FROM leases WHERE name = ?", self.name)
        return int(rows[0]["token"]) if rows else 0

    @property
    def private(self) -> Path:
        """The environment's folder outside the workspace."""
        return Path(f"/tmp/deployer-{os.getuid()}/{self.record()['uuid'][:12]}")

    @property
    def fence(self) -> Path:
        """Where the host's token and journal are."""
        return self.state_dir / "environments" / self.name / "fence"

    def journal(self) -> list[dict[str, Any]]:
        """What operations did on the host, in order."""
        try:
            text = (self.fence / "journal").read_text()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines()]

    def workers(self) -> list[psutil.Process]:
        """Processes that work for an operation on this environment, deployer itself apart."""
        return _having(ENVIRONMENT_VARIABLE, self.record()["uuid"])

    def services(self) -> list[psutil.Process]:
        """The supervisor and the services."""
        return _having("DEPLOYER_SERVICES", self.record()["uuid"])

    def answer(self) -> str:
        """What the application says."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}/", timeout=10) as response:
            return str(response.read().decode())

    def lease_is_free(self) -> bool:
        """Whether nobody holds the lease."""
        try:
            file = (self.state_dir / "environments" / self.name / "lock").open("rb")
        except FileNotFoundError:
            return True
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    # ---- what must hold

    def check_store(self) -> State:
        """The store opens, is whole, and its state is one of the table. Returns it."""
        found = self.rows("PRAGMA integrity_check")[0]["integrity_check"]
        expect(found == "ok", f"integrity_check: {found}")
        return State(self.record()["state"])

    def check_intent(self) -> None:
        """Whatever began on the host was written down before."""
        actions = {
            "prepare": "configure",
            "prepare_anyway": "configure",
            "remove": "destroy",
        }
        known = self.rows("SELECT token, verb FROM operations WHERE acting = 1")
        written = {(row["token"], row["verb"]) for row in known}
        for line in self.journal():
            verb = actions.get(line["action"], line["action"])
            expect(
                (line["token"], verb) in written,
                f"{line} happened on the host without an intent in the store",
            )

    def check_order(self) -> None:
        """No operation did anything on the host after a newer one had begun there."""
        newest = 0
        open_by: dict[int, dict[str, Any]] = {}
        for line in self.journal():
            expect(
                line["token"] >= newest,
                f"an older operation went on beside token {newest}: {line}",
            )
            newest = line["token"]
            if line["moment"] == "start":
                for other in open_by.values():
                    expect(other["token"] < newest, f"two calls at once: {other}, {line}")
                    alive = psutil.pid_exists(other["pid"]) and other["pid"] != line["pid"]
                    expect(not alive or _newer(other), f"{other} still works beside {line}")
                open_by = {line["pid"]: line}
            else:
                open_by.pop(line["pid"], None)

    def check_settled(self) -> None:
        """Nobody works, nobody holds the lease, nothing is left half-done."""
        expect(self.lease_is_free(), "the lease is still held")
        left = self.workers()
        expect(not left, f"still working: {left}")
        state = self.check_store()
        expect(state not in ACTING, f"the state is {state} and nobody acts")
        unended = self.rows("SELECT id, verb FROM operations WHERE outcome IS NULL")
        expect(not unended, f"operations without an end: {unended}")
        uuid = self.record()["uuid"]
        places = (
            (self.private.parent / "ansible", f"{uuid[:8]}-*"),
            (self.fence, "running-*"),
            (self.state_dir / "environments" / self.name / "host", ".current-new"),
            (self.state_dir / "environments" / self.name / "host", "**/*.new"),
            (self.state_dir / "environments" / self.name / "host" / "releases", ".new-*"),
        )
        rest = [str(path) for folder, pattern in places for path in folder.glob(pattern)]
        expect(not rest, f"left behind: {rest}")

    def check_running(self) -> None:
        """The newest edit answers, from one supervisor with one process a service."""
        self.check_settled()
        self.check_order()
        self.check_intent()
        state = self.record()["state"]
        expect(state == State.RUNNING, f"the state is {state}")
        # a failed release keeps its bundle for the one that continues it, and no longer
        build = self.state_dir / "environments" / self.name / "build"
        expect(not [*build.glob("*")], f"left behind: {[*build.glob('*')]}")
        said, wanted = self.answer(), f"{self.text} {self.word}"
        expect(said == wanted, f"the application says {said!r}, not {wanted!r}")
        lines = sorted(_kind(process) for process in self.services())
        expect(lines == ["idle", "supervisor", "web"], f"processes: {lines}")

    def clean(self, *, keep: bool = False) -> None:
        """End and remove all that this lab made; `keep` leaves its folder, for another lab."""
        with contextlib.suppress(Exception):
            uuid, private = self.record()["uuid"], self.private
            end(_having(ENVIRONMENT_VARIABLE, uuid))
            daemons = [p for p in self.services() if _kind(p) == "supervisor"]
            end(daemons)
            end(self.services())
            shutil.rmtree(private, ignore_errors=True)
        if not keep:
            shutil.rmtree(self.root, ignore_errors=True)


def _newer(line: dict[str, Any]) -> bool:
    """Whether the pid of a journal line has been used again since."""
    try:
        return psutil.boot_time() + line["monotonic"] < psutil.Process(line["pid"]).create_time()
    except psutil.Error:
        return True


def _having(variable: str, value: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(variable) != value:
                continue
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _kind(process: psutil.Process) -> str:
    line = " ".join(process.cmdline())
    for word, kind in (("supervisord", "supervisor"), ("web.py", "web"), ("sleep", "idle")):
        if word in line:
            return kind
    return line


def end(processes: Sequence[psutil.Process]) -> None:
    """SIGKILL processes and wait until they are gone."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(list(processes), 10)


def kill_alone(lab: Lab, child: Child) -> None:
    """SIGKILL to deployer; its children live on."""
    child.process.kill()


def kill_all(lab: Lab, child: Child) -> None:
    """SIGKILL to deployer and to every descendant, until there is none."""
    try:
        family = psutil.Process(child.process.pid).children(recursive=True)
    except psutil.Error:
        family = []
    child.process.kill()
    while family:
        end(family)
        family = lab.workers()


def ran_for(child: Child) -> float:
    """Seconds since a process was started."""
    try:
        return time.time() - psutil.Process(child.process.pid).create_time()
    except psutil.Error:
        return float("inf")


def hit_at(found: Lab, child: Child, seconds: float, dice: random.Random) -> str:
    """SIGKILL at a moment after the start, in one of both ways; returns which."""
    until(lambda: ran_for(child) >= seconds or child.process.poll() is not None, "it hangs")
    alone = dice.random() < 0.5
    (kill_alone if alone else kill_all)(found, child)
    return "deployer alone" if alone else "all"


def operation_of(process: psutil.Process) -> str:
    """The operation that a process works for."""
    try:
        return process.environ().get(OPERATION_VARIABLE, "")
    except (psutil.Error, OSError):
        return ""


def free_port() -> int:
    """A port that nobody listens on, outside of the range for outgoing connections."""
    while True:
        port = random.randrange(20000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextlib.contextmanager
def lab(**values: Any) -> Iterator[Lab]:
    """A lab in a temporary folder, cleaned at the end."""
    found = Lab(Path(tempfile.mkdtemp(prefix="deployer-fault-")), **values)
    try:
        yield found
    finally:
        found.clean()


# ---- running a proof

Case = Callable[[random.Random, int], str]
"""One try: returns what kind it was, raises `Broken` where something did not hold."""


class Skipped(Exception):
    """This machine can't run the proof; the message says what would provide it."""


def prove(case: Case, *, count: int, title: str = "") -> None:
    """Parse --seed, --count, --only and --jobs, run the tries, print the summary, exit.

    Try `i` depends on seed and `i` alone, so that `--only i` repeats it.
    """
    parser = argparse.ArgumentParser(description=title or sys.modules["__main__"].__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--only", type=int, help="repeat this one try")
    parser.add_argument("--jobs", type=int, default=1, help="tries at once")
    options = parser.parse_args()
    indices = [options.only] if options.only is not None else list(range(options.count))
    survived: Counter[str] = Counter()
    failed: list[tuple[int, str]] = []
    skipped: list[str] = []

    def attempt(index: int) -> None:
        began = time.monotonic()
        try:
            kind = case(random.Random(f"{options.seed}:{index}"), index)
        except Skipped as reason:
            skipped.append(str(reason))
            print(f"skipped {index}: {reason}", flush=True)
        except Exception as problem:
            what = str(problem) if isinstance(problem, Broken) else repr(problem)
            failed.append((index, what))
            print(f"FAILED seed {options.seed} index {index}: {what}", flush=True)
        else:
            survived[kind] += 1
            print(f"ok {index}: {kind} ({time.monotonic() - began:.1f} s)", flush=True)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(attempt, indices))
    print(f"\ntried {len(indices)}, survived {sum(survived.values())}, seed {options.seed}")
    for kind, number in sorted(survived.items()):
        print(f"  {number:4}  {kind}")
    for index, what in failed:
        print(f"  FAILED: --seed {options.seed} --only {index}: {what.splitlines()[0]}")
    sys.exit(1 if failed else SKIPPED if skipped else 0)
