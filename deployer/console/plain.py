"""Plain lines, for logs and pipes: no colour, nothing that moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from deployer.console.lines import Line, laid_out, lines_of, unicode_marks
from deployer.console.worker import Worker

if TYPE_CHECKING:
    from deployer.events import Event


class PlainConsole(Worker):
    """Writes one line for each result, and one every few seconds while nothing happens."""

    def __init__(self, stream: TextIO, *, verbose: bool) -> None:
        self._stream = stream
        self._verbose = verbose
        self._unicode = unicode_marks(stream)
        super().__init__()

    def show(self, event: Event) -> bool:
        """Write the event's lines."""
        lines = list(lines_of(event, verbose=self._verbose))
        for line in lines:
            self.write(line)
        return bool(lines)

    def tick(self) -> None:
        """Say what is waited for."""
        notice = self.waiting.notice()
        if notice:
            self.write(notice)

    def blank(self) -> None:
        """A line between progress and result."""
        self._stream.write("\n")
        self._stream.flush()

    def write(self, line: Line) -> None:
        """Write one line at once."""
        self._stream.write(laid_out(line, unicode=self._unicode) + "\n")
        self._stream.flush()
