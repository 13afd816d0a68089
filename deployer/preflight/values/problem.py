"""What a rule says about a value."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """`word` is what to look for in the file to find the place, and what is shown as the value."""

    rule: str
    message: str
    fix: str
    word: str
    secret: bool = False
    """The word is never shown."""


def unsigned(word: str) -> str:
    """A URL without the password in it."""
    return re.sub(r"(:/+[^/:@\s]*:)[^/@\s]+@", r"\1***@", word)
