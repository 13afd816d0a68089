"""Terraform's process: its lines as they come, its end in peace, and nothing left of it."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from deployer.tools.process import end

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    import psutil

    from deployer.errors import InterruptedOperation, StepError
    from deployer.tools.interrupt import Interrupt

POLL = 0.1
CLOSED_POLL = 0.002  # it has closed its output: it is about to be gone
ABORT_GRACE = 10.0  # seconds that it gets to end after a second SIGINT
TIDY_GRACE = 2.0  # seconds that what its provisioners started gets to end after it
DRAIN = 1.0  # seconds that its last lines get to arrive after its end


class Child:
    """A running command, in a session and process group of its own."""

    def __init__(
        self,
        process: subprocess.Popen[str],
        out: Callable[[str], None],
        err: Callable[[str], None],
        interrupt: Interrupt,
    ) -> None:
        self._process = process
        self._interrupt = interrupt
        self._lines: queue.SimpleQueue[tuple[Callable[[str], None], str] | None]
        self._lines = queue.SimpleQueue()
        self._open = 2
        self._asked = False
        for pipe, take in ((process.stdout, out), (process.stderr, err)):
            threading.Thread(target=self._read, args=(pipe, take), daemon=True).start()

    def _read(self, pipe: Any, take: Callable[[str], None]) -> None:
        with pipe:
            for line in pipe:
                self._lines.put((take, line))
        self._lines.put(None)

    def wait(
        self, timeout: float, outlived: Callable[[], StepError], asked: Callable[[], None]
    ) -> int:
        """Hand on its lines until it ends; returns its exit code."""
        stopped_by: StepError | InterruptedOperation | None = None
        until = time.monotonic() + timeout
        try:
            while not self._gone():
                self._next()
                if stopped_by is not None:
                    continue
                if self._interrupt.number is not None:
                    stopped_by = self._interrupt.error()
                elif time.monotonic() > until:
                    stopped_by = outlived()
                if stopped_by is not None:
                    self._ask()
                    asked()
            drained = time.monotonic() + DRAIN
            while self._open and time.monotonic() < drained:
                self._next()
        except BaseException as problem:
            self._abort(patient=not isinstance(problem, KeyboardInterrupt))
            raise
        if stopped_by is not None:
            self._end_others()
        code = self._process.wait()
        if stopped_by is not None:
            raise stopped_by
        return code

    def _next(self) -> None:
        try:
            taken = self._lines.get(timeout=POLL if self._open else CLOSED_POLL)
        except queue.Empty:
            return
        if taken is None:
            self._open -= 1
        else:
            take, line = taken
            take(line)

    def _ask(self) -> None:
        """SIGINT to the group, as a terminal does it.

        Plugins ignore it. Terraform kills the shell of a provisioner on SIGINT; what that shell
        has started hears of it only through the group.
        """
        self._asked = True
        os.killpg(self._process.pid, signal.SIGINT)

    def _abort(self, patient: bool) -> None:
        """End it though nobody listens any more; `patient`: however long it saves its state."""
        try:
            # the first asks it to save its state, the second to end at once
            attempts = 1 if patient or self._asked else 2
            for _ in range(attempts):
                if not (patient and self._asked):
                    self._ask()
                self._wait_for_end(None if patient else ABORT_GRACE / attempts)
        finally:
            if not self._gone():
                os.killpg(self._process.pid, signal.SIGKILL)
            self._end_others()
            self._process.wait()

    def _wait_for_end(self, seconds: float | None) -> None:
        until = None if seconds is None else time.monotonic() + seconds
        while not self._gone() and (until is None or time.monotonic() < until):
            time.sleep(POLL)

    def _gone(self) -> bool:
        """Whether it ended. It is not reaped yet, so the number of its group is still its own."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, options) is not None

    def _end_others(self) -> None:
        """End what provisioners started in the group and what did not end with it."""
        import psutil

        def of_group() -> Iterator[psutil.Process]:
            for process in psutil.process_iter():
                try:
                    mine = os.getpgid(process.pid) == self._process.pid
                    if mine and process.pid != self._process.pid:
                        yield process
                except (OSError, psutil.Error):
                    continue

        # they heard of the interrupt too, and may be tidying up
        _, left = psutil.wait_procs(list(of_group()), TIDY_GRACE)
        end(left)
