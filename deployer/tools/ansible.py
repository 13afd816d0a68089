"""Ansible, through ansible-runner: one playbook at a time, its tasks reported as they happen.

See docs/decisions for why the run has a private folder, a thread and an environment of its own.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.errors import Code, InterruptedOperation, StepError
from deployer.paths import TEMPLATES, private_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deployer.tools.interrupt import Interrupt

PLAYBOOKS = TEMPLATES / "ansible"
INTERRUPT_GRACE = 10.0  # seconds that Ansible gets to end after SIGINT
POLL = 0.1
OUTPUT_LINES = 20


@dataclass(frozen=True)
class TaskReport:
    """Something that a task did; `outcome` as in `StepProgress`."""

    title: str
    outcome: str
    host: str | None = None
    seconds: float | None = None


@dataclass
class HostResult:
    """How a playbook ended on one host."""

    changed: bool = False
    error: StepError | None = None
    results: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Play:
    """What to run, and where. `variables` are the hosts' own: connection and spec."""

    playbook: str
    variables: Mapping[str, Mapping[str, Any]]
    environment: Mapping[str, str]
    uuid: str
    timeout: float
    check: bool = False
    """Check mode: tasks tell what they would change, and change nothing."""


def run(
    play: Play, report: Callable[[TaskReport], None], interrupt: Interrupt
) -> dict[str, HostResult]:
    """Run a playbook and wait for its end.

    Returns a result for each host, failed ones too. Raises `StepError` where Ansible itself
    fails or outlives `play.timeout`, `InterruptedOperation` on a signal.
    """
    if shutil.which("ansible-playbook", path=play.environment["PATH"]) is None:
        raise StepError(
            "ansible-playbook is not installed",
            code=Code.TOOL_MISSING,
            hint=f"Install it: {Path(sys.executable).name} -m pip install ansible-core",
        )
    folder = Path(tempfile.mkdtemp(prefix=f"{play.uuid[:8]}-", dir=private_dir("ansible")))
    return _Run(play, folder, report, interrupt).wait()


def sweep(uuid: str) -> None:
    """Remove what runs for this environment left behind when they were killed."""
    for folder in private_dir("ansible").glob(f"{uuid[:8]}-*"):
        shutil.rmtree(folder, ignore_errors=True)


class _Run:
    """One run of ansible-runner in a thread of its own, watched from here.

    In a thread it leaves the signal handlers alone, and its event handler only enqueues.
    """

    def __init__(
        self,
        play: Play,
        folder: Path,
        report: Callable[[TaskReport], None],
        interrupt: Interrupt,
    ) -> None:
        self._play = play
        self._folder = folder
        self._report = report
        self._interrupt = interrupt
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._hosts = {name: HostResult() for name in play.variables}
        self._started_at: dict[tuple[str, str], float] = {}
        self._output: list[str] = []
        self._failure: BaseException | None = None
        self._ended_pid: int | None = None

    def wait(self) -> dict[str, HostResult]:
        try:
            runner = self._prepare()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        # waited for at the program's end at the latest: it removes what the run needed
        thread = threading.Thread(target=self._execute, args=(runner,))
        started = time.monotonic()
        asked_at: float | None = None
        stopped_by: StepError | InterruptedOperation | None = None
        thread.start()
        try:
            while self._next():
                now = time.monotonic()
                if stopped_by is None and self._interrupt.number is not None:
                    stopped_by, asked_at = self._interrupt.error(), now
                    self._signal(signal.SIGINT)
                elif stopped_by is None and now - started > self._play.timeout:
                    stopped_by, asked_at = self._outlived(), now
                    self._signal(signal.SIGINT)
                if asked_at is not None and now - asked_at > INTERRUPT_GRACE:
                    self._signal(signal.SIGKILL)
        except BaseException:
            self._signal(signal.SIGKILL)
            raise
        if stopped_by is not None:
            raise stopped_by
        return self._judge(runner)

    def _prepare(self) -> Any:
        from ansible_runner import Runner, RunnerConfig

        for name in ("inventory", "env", "project", "tmp"):
            (self._folder / name).mkdir(mode=0o700)
        hosts = {
            name: {**variables, "ansible_remote_tmp": str(self._folder / "tmp")}
            if variables.get("ansible_connection") == "local"
            else variables
            for name, variables in self._play.variables.items()
        }
        inventory = self._folder / "inventory" / "hosts.yml"
        _write_private(inventory, json.dumps({"all": {"hosts": hosts}}))
        _write_private(self._folder / "env" / "settings", json.dumps({"pexpect_timeout": 0.2}))
        config = RunnerConfig(
            private_data_dir=str(self._folder),
            playbook=str(PLAYBOOKS / f"{self._play.playbook}.yml"),
            quiet=True,
        )
        config.suppress_ansible_output = True
        config.cmdline_args = "--check --diff" if self._play.check else None
        config.prepare()
        # it copies our whole environment; what it added to it is all that it needs of its own
        added = {k: v for k, v in config.env.items() if os.environ.get(k) != v}
        config.env = {
            **added,
            **self._play.environment,
            "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"),
            "ANSIBLE_HOME": str(self._folder / "home"),
            "ANSIBLE_LOCAL_TEMP": str(self._folder / "tmp"),
            "ANSIBLE_HOST_KEY_CHECKING": "True",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_NOCOLOR": "1",
        }
        return Runner(config=config, event_handler=self._on_event)

    def _execute(self, runner: Any) -> None:
        try:
            runner.run()
        except BaseException as problem:  # carried over to the waiting thread
            self._failure = problem
        finally:
            self._output = self._output or _said(self._folder)
            self._events.put(None)
            shutil.rmtree(self._folder, ignore_errors=True)

    def _on_event(self, event: dict[str, Any]) -> bool:
        self._events.put(event)
        return True

    def _outlived(self) -> StepError:
        return StepError(
            f"it took longer than {self._play.timeout:g} s and was ended",
            code=Code.TIMEOUT,
            hint="Give it more time with step_timeout in the environment file, or find out "
            "what it waits for.",
            output=self._output[-OUTPUT_LINES:],
        )

    def _signal(self, number: int) -> None:
        """Signal the playbook's own process group: a session of its own, made by its terminal."""
        import psutil

        for child in psutil.Process().children():
            try:
                if os.getpgid(child.pid) == child.pid and "ansible" in " ".join(child.cmdline()):
                    os.killpg(child.pid, number)
            except (psutil.Error, OSError):
                continue

    def _next(self) -> bool:
        """Handle the next event, if one comes soon; False when there will be none any more.

        That is when ansible-runner is done, or when Ansible has told its end and its process is
        gone: the runner then closes its terminal, which takes a fixed tenth of a second.
        """
        if self._ended_pid is not None and _is_gone(self._ended_pid):
            return False
        try:
            event = self._events.get(timeout=POLL if self._ended_pid is None else POLL / 20)
        except queue.Empty:
            return True
        if event is None:
            return False
        if event.get("event") == "playbook_on_stats":
            self._ended_pid = event.get("pid")
        self._handle(event)
        return True

    def _handle(self, event: dict[str, Any]) -> None:
        self._output += [line for line in (event.get("stdout") or "").splitlines() if line.strip()]
        del self._output[:-200]
        data = event.get("event_data") or {}
        task, host = data.get("task") or "", data.get("host") or ""
        result = data.get("res") if isinstance(data.get("res"), dict) else {}
        match event.get("event"):
            case "runner_on_start":
                self._started_at[(task, host)] = time.monotonic()
                self._report(TaskReport(task, "started", host))
            case "runner_on_ok":
                self._succeeded(task, host, result or {}, data.get("duration"))
            case "runner_on_failed" if not data.get("ignore_errors"):
                self._failed(task, host, result or {}, data.get("duration"))
            case "runner_on_unreachable":
                message = str((result or {}).get("msg") or "no answer")
                self._hosts.setdefault(host, HostResult()).error = StepError(
                    f"{host} can't be reached: {message}",
                    code=Code.HOST_UNREACHABLE,
                    host=host,
                    # before its first task nothing has happened there yet
                    transient=not self._hosts[host].results,
                )
                self._report(TaskReport(f"{host} can't be reached", "failed", host))

    def _succeeded(
        self, task: str, host: str, result: dict[str, Any], seconds: float | None
    ) -> None:
        known = self._hosts.setdefault(host, HostResult())
        known.results.append(result)
        known.changed = known.changed or bool(result.get("changed"))
        outcome = "changed" if result.get("changed") else "ok"
        parts = result.get("substeps") or []
        if result.get("summary") or not parts:
            self._report(TaskReport(str(result.get("summary") or task), outcome, host, seconds))
        for part in parts:
            said = part.get("outcome", outcome)
            self._report(TaskReport(part["title"], said, host, part.get("seconds")))

    def _failed(self, task: str, host: str, result: dict[str, Any], seconds: float | None) -> None:
        problem = result.get("problem") or {}
        message = str(result.get("msg") or "it failed")
        output = list(problem.get("output") or [])
        if not problem:
            said = result.get("module_stderr") or result.get("stderr") or result.get("stdout") or ""
            output = str(said).splitlines()[-OUTPUT_LINES:]
        self._hosts.setdefault(host, HostResult()).error = StepError(
            message,
            code=Code(problem.get("code") or Code.HOST_FAILED),
            hint=problem.get("hint") or "",
            host=host,
            output=output,
        )
        self._report(TaskReport(task, "failed", host, seconds))

    def _judge(self, runner: Any) -> dict[str, HostResult]:
        if self._failure is not None:
            raise StepError(
                f"Ansible could not be run: {self._failure}", output=self._output[-OUTPUT_LINES:]
            ) from self._failure
        failed = any(host.error for host in self._hosts.values())
        finished = all(host.results or host.error for host in self._hosts.values())
        told = self._ended_pid is not None
        if not finished or not (told or runner.rc == 0 or failed):
            raise StepError(
                f"ansible-playbook failed with exit code {runner.rc}",
                output=self._output[-OUTPUT_LINES:],
            )
        return self._hosts


def _is_gone(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _said(folder: Path) -> list[str]:
    lines: list[str] = []
    for path in folder.glob("artifacts/*/std*"):
        lines += path.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-OUTPUT_LINES:]


def _write_private(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
