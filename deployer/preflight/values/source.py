"""What the readers give and the rules get: a file, and the values in it with their places."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

UNKNOWN = "\ufffc"
"""Stands in a value for an expression whose result nobody knows before the deployment."""

_OPENING = re.compile(r"\{[{%#]")
_CLOSING = {"{{": "}}", "{%": "%}", "{#": "#}"}


@dataclass(frozen=True)
class Value:
    """One scalar of a file. `keys` is the path to it; `last_line` ends where the next begins."""

    keys: tuple[str | int, ...]
    text: str
    line: int
    last_line: int
    plain: bool = False
    """It stands without quotes: what it is read as depends on its looks."""

    @cached_property
    def known(self) -> bool:
        """Whether no part of it is an expression."""
        return UNKNOWN not in self.text

    @cached_property
    def key(self) -> str:
        """The nearest name above it: its own key, or that of the list that it is in."""
        return next((key for key in reversed(self.keys) if isinstance(key, str)), "")

    @cached_property
    def parent(self) -> str:
        """The name above its key."""
        names = [key for key in self.keys if isinstance(key, str)]
        return names[-2] if len(names) > 1 else ""


@dataclass
class Source:
    """A file that was read. `shown` is what findings call it."""

    path: Path
    shown: str
    text: str
    kind: str = ""
    """`yaml`, `toml`, `json`, `hcl` or `text`: how it was read."""
    values: list[Value] = field(default_factory=list)
    problem: tuple[str, int] | None = None
    """Why it can't be read further, and on which line."""

    def __post_init__(self) -> None:
        self.lines = self.text.split("\n")

    def place(self, value: Value, word: str) -> tuple[int, int | None]:
        """Line and column, from 1, of a word of a value; the value's own line if it is changed."""
        for number in range(value.line, min(value.last_line, len(self.lines)) + 1):
            column = self.lines[number - 1].find(word)
            if column >= 0:
                return number, column + 1
        return value.line, None


def without_jinja(text: str) -> str:
    """`text` with every Jinja expression unknown; line ends stay, so that lines keep numbers."""
    if "{" not in text:
        return text
    parts = []
    position, endless = 0, set()
    for found in _OPENING.finditer(text):
        closing = _CLOSING[found[0]]
        if found.start() < position or closing in endless:
            continue
        end = text.find(closing, found.end())
        if end < 0:
            endless.add(closing)
            continue
        parts += [text[position : found.start()], UNKNOWN]
        parts.append("\n" * text.count("\n", found.start(), end))
        position = end + 2
    return "".join(parts) + text[position:]
