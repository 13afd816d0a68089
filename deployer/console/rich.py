"""A terminal: results stay, and one line at the bottom moves while something is done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console as Terminal
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from deployer import events
from deployer.console.lines import (
    NOT_WORTH_SAYING,
    WAIT_NOTICE,
    Line,
    duration,
    laid_out,
    lines_of,
    unicode_marks,
)
from deployer.console.worker import Worker

if TYPE_CHECKING:
    from rich.console import RenderableType

    from deployer.events import Event

_STYLES = {
    "ok": "green",
    "changed": "green",
    "failed": "bold red",
    "skipped": "cyan",
    "warning": "yellow",
    "waiting": "dim",
    "note": "dim",
    "output": "dim",
}


class RichConsole(Worker):
    """The only one that writes to stderr while it is open."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        # foreign text is never markup, and never wrapped in the middle of a word
        self._terminal = Terminal(
            stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True
        )
        self._unicode = unicode_marks(self._terminal.file)  # type: ignore[arg-type]
        self._spinner = Spinner("dots" if self._unicode else "line", style="cyan")
        self._live: Live | None = None
        super().__init__()

    def show(self, event: Event) -> bool:
        """Print the event's lines above the one that moves."""
        lines = list(lines_of(event, verbose=self._verbose))
        for line in lines:
            self._terminal.print(self._styled(line))
        if isinstance(event, events.StepStarted):
            self._start()
        elif isinstance(event, events.StepFinished | events.StepFailed):
            self.rest()
        return bool(lines)

    def _styled(self, line: Line) -> Text:
        width = self._terminal.width
        text = Text(laid_out(line, unicode=self._unicode, width=width))
        if not line.mark:
            text.stylize("bold")
            return text
        if line.mark in ("failed", "warning", "waiting", "note", "output"):
            text.stylize(_STYLES[line.mark])
        else:
            text.stylize(_STYLES[line.mark], 2, 3)
        if line.seconds is not None and line.seconds >= NOT_WORTH_SAYING:
            text.stylize("dim", len(text) - len(duration(line.seconds)))
        return text

    def _start(self) -> None:
        self.rest()
        self._live = Live(
            get_renderable=self._moving,
            console=self._terminal,
            transient=True,
            refresh_per_second=10,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def _moving(self) -> RenderableType:
        elapsed = time.monotonic() - self.waiting.since if self.waiting.title else 0.0
        text = f" {self.waiting.title}"
        if elapsed >= WAIT_NOTICE:
            text += f", still waiting ({duration(elapsed)})"
        elif elapsed >= 1:
            text += f" ({duration(elapsed)})"
        room = max(10, self._terminal.width - 6)
        shown = Text("  ")
        shown.append_text(Text.from_ansi(str(self._spinner.render(time.monotonic()))))
        shown.append(text if len(text) <= room else text[: room - 1] + "…", style="dim")
        return shown

    def rest(self) -> None:
        """Take the moving line away."""
        if self._live:
            self._live.stop()
            self._live = None

    def blank(self) -> None:
        """A line between progress and result."""
        self._terminal.print()
