"""Services' log files: their last lines, and what is added to them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Line = tuple[str, str]
"""A service and a line that it wrote."""

BLOCK = 64 * 1024
POLL = 0.2  # seconds between two looks for more


def tail(files: Mapping[str, Path], lines: int) -> list[Line]:
    """The last `lines` lines of each file."""
    return [(service, line) for service, path in files.items() for line in _tail(path, lines)]


def _tail(path: Path, lines: int) -> list[str]:
    if lines == 0:
        return []
    with path.open("rb") as file:
        end = file.seek(0, 2)
        content = b""
        while end > 0 and content.count(b"\n") <= lines:
            start = max(0, end - BLOCK)
            file.seek(start)
            content = file.read(end - start) + content
            end = start
    return content.decode("utf-8", "replace").splitlines()[-lines:]


def follow(files: Mapping[str, Path]) -> Iterator[Line]:
    """What is added to the files from now on, line by line; ends with the reader."""
    at = {service: path.stat().st_size for service, path in files.items() if path.exists()}
    rest = dict.fromkeys(files, b"")
    while True:
        quiet = True
        for service, path in files.items():
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                continue
            if size < at.get(service, 0):
                at[service] = 0  # rotated: it begins anew
            if size == at.get(service, 0):
                continue
            quiet = False
            with path.open("rb") as file:
                file.seek(at.get(service, 0))
                added = file.read(size - at.get(service, 0))
            at[service] = size
            *whole, rest[service] = (rest[service] + added).split(b"\n")
            for line in whole:
                yield service, line.decode("utf-8", "replace")
        if quiet:
            time.sleep(POLL)


def shown(line: Line, *, alone: bool) -> str:
    """A line as it is printed: with its service, unless that is the only one."""
    service, text = line
    return text if alone else f"{service} | {text}"
