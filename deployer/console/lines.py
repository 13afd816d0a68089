"""From events to lines of text: what plain, GitHub and rich share."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from deployer import events

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_NOTICE = 5.0  # seconds without news before "still waiting" is said, and between two of them
NOT_WORTH_SAYING = 0.05  # seconds
TIME_COLUMN = 68  # where the seconds of a line end, on a terminal that is wide enough

_MARKS = {
    "ok": ("✓", "+"),
    "changed": ("✓", "+"),
    "failed": ("✗", "x"),
    "skipped": ("↷", ">"),
    "warning": ("!", "!"),
    "waiting": ("…", "..."),
    "note": ("·", "-"),
    "output": ("|", "|"),
}


@dataclass(frozen=True)
class Line:
    """One line: a heading without a mark, or a result below it."""

    text: str
    mark: str = ""
    seconds: float | None = None


def lines_of(event: events.Event, *, verbose: bool) -> Iterator[Line]:
    """The lines that an event is worth."""
    match event:
        case events.OperationStarted(porcelain=False):
            count = f"[{event.index}/{event.total}] " if event.total else ""
            yield Line(f"{count}{event.title}...")
        case events.StepProgress(outcome="started"):
            return
        case events.StepProgress():
            several = event.host and event.several and not event.title.startswith(f"{event.host} ")
            place = f"{event.host}: " if several else ""
            yield Line(place + event.title, event.outcome, event.seconds)
        case events.StepFinished(substeps=0):
            yield Line(event.title, "ok", event.seconds)
        case events.StepFailed(substeps=0):
            yield Line(event.title, "failed", event.seconds)
        case events.StepSkipped():
            yield Line(f"{event.title} ({event.reason})", "skipped")
        case events.StateChanged() if verbose:
            yield Line(f"state: {event.from_state} → {event.to_state}", "note")
        case events.ConfigurationChanged() if verbose:
            yield Line(f"{event.key}: {event.old_value!r} → {event.new_value!r}", "note")
        case events.ResourceCreated() if verbose:
            yield Line(f"created {event.resource_type} {event.resource_id}", "note")
        case events.ResourceDeleted() if verbose:
            yield Line(f"deleted {event.resource_type} {event.resource_id}", "note")


class Waiting:
    """What is being waited for, and since when."""

    def __init__(self) -> None:
        self.title = ""
        self.since = 0.0
        self._told = 0.0

    def follow(self, event: events.Event) -> None:
        """Note what an event starts or ends."""
        if isinstance(event, events.StepStarted) or (
            isinstance(event, events.StepProgress) and event.outcome == "started"
        ):
            self.title = event.title
            self.since = self._told = time.monotonic()
        elif isinstance(event, events.StepProgress):
            self._told = time.monotonic()
        elif isinstance(event, events.StepFinished | events.StepFailed | events.OperationFailed):
            self.title = ""

    def notice(self) -> Line | None:
        """A line, each time that nothing else was said for long enough."""
        now = time.monotonic()
        if not self.title or now - self._told < WAIT_NOTICE:
            return None
        self._told = now
        return Line(f"still waiting: {self.title}", "waiting", now - self.since)


def duration(seconds: float) -> str:
    """Seconds as people read them: 0.8s, 41s, 2m 05s."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 60:
        return f"{seconds:.0f}s"
    return f"{int(seconds) // 60}m {int(seconds) % 60:02d}s"


def unicode_marks(stream: TextIO) -> bool:
    """Whether a stream can show the marks that are not ASCII."""
    return (stream.encoding or "ascii").lower().replace("-", "") in ("utf8", "utf16")


def mark(name: str, *, unicode: bool) -> str:
    """The sign before a result."""
    return _MARKS[name][0 if unicode else 1]


def laid_out(line: Line, *, unicode: bool, width: int | None = None) -> str:
    """A line as it is written: indented, the seconds in a column of their own."""
    if not line.mark:
        return line.text
    text = f"  {mark(line.mark, unicode=unicode)} {line.text}"
    if not unicode:
        text = text.replace("→", "->").replace("…", "...")
    if line.seconds is None or line.seconds < NOT_WORTH_SAYING:
        return text
    shown = duration(line.seconds)
    width = min(width or shutil.get_terminal_size().columns, TIME_COLUMN + 1) - 1
    return f"{text}{' ' * max(2, width - len(text) - len(shown))}{shown}"
