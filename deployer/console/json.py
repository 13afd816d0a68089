"""Events as JSON, one object a line: what programs read."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from deployer.events import Event


class JsonConsole:
    """Writes each event as it comes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Write one event."""
        self._stream.write(event.model_dump_json(exclude_none=True) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing is left: every event was written at once."""
