"""A thread of its own for a console: events are queued, so that showing never delays acting."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from deployer.console.lines import Waiting

if TYPE_CHECKING:
    from deployer.events import Event

TICK = 0.25  # seconds between two looks at what is being waited for


class Worker:
    """Base of the consoles that write lines."""

    def __init__(self) -> None:
        self.waiting = Waiting()
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Queue an event."""
        self._queue.put(event)

    def close(self) -> None:
        """Show what is queued, then end."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        shown = False
        try:
            while True:
                try:
                    event = self._queue.get(timeout=TICK)
                except queue.Empty:
                    self.tick()
                    continue
                if event is None:
                    break
                shown = self.show(event) or shown
                self.waiting.follow(event)
            self.rest()
            if shown:
                self.blank()
        except (OSError, ValueError):
            return  # nobody reads stderr any more; the operation goes on

    def show(self, event: Event) -> bool:
        """Write what an event is worth; return whether that was anything."""
        raise AssertionError

    def tick(self) -> None:
        """Nothing happened for a while."""

    def rest(self) -> None:
        """Nothing moves any more."""

    def blank(self) -> None:
        """A line between progress and result."""
