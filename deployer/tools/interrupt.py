"""SIGINT and SIGTERM during an operation: noted first, obeyed where it is safe."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from deployer.errors import Code, Exit, InterruptedOperation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

POLL = 0.05  # seconds between two looks at the flag


class Interrupt:
    """Holds the handlers while an operation runs, and puts the old ones back.

    The first signal is noted; the second raises KeyboardInterrupt wherever the program is.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Self:
        # handlers belong to the main thread; a library user's other thread goes without
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._noted)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous.clear()

    def _noted(self, number: int, _frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    @contextmanager
    def answered(self) -> Iterator[None]:
        """The signal that came has been obeyed; what is done now may be interrupted anew."""
        number, self.number = self.number, None
        try:
            yield
        finally:
            self.number = number or self.number

    @contextmanager
    def given_back(self) -> Iterator[None]:
        """While a person is asked: a signal ends the question at once."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def check(self) -> None:
        """Raise `InterruptedOperation` if a signal came."""
        if self.number is not None:
            raise self.error()

    def sleep(self, seconds: float) -> None:
        """Sleep, but not through a signal."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, POLL))

    def error(self) -> InterruptedOperation:
        """What the operation ends with."""
        if self.number == signal.SIGTERM:
            error = InterruptedOperation("Terminated", code=Code.TERMINATED)
            error.exit_code = Exit.TERMINATED
            return error
        return InterruptedOperation("Interrupted")
