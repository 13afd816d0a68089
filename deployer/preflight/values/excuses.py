"""Excuses: `# deployer: ignore[rule] reason`, on the line or alone on the line above."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.preflight.values.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_EXCUSE = re.compile(
    r"(?P<mark>\#|//|;|--|/\*|<!--|\{\#)\s*deployer:\s*ignore(?:\[(?P<rules>[^\]\n]*)\])?"
    r"\s*(?P<reason>[^\n]*?)\s*(?:\*/|-->|\#\})?\s*$"
)

_MAX_LINE = 1_000


@dataclass(frozen=True)
class Excuse:
    """What one comment excuses: rules, on one line."""

    rules: frozenset[str]
    line: int
    """The line that is excused."""
    written: int
    """The line that it stands on."""
    reason: str


def read(lines: list[str]) -> list[Excuse]:
    """The excuses of a file, also those that lack something."""
    found = []
    for number, line in enumerate(lines, 1):
        short = "deployer:" in line and len(line) < _MAX_LINE
        match = _EXCUSE.search(line) if short else None
        if match:
            rules = frozenset(r.strip() for r in (match["rules"] or "").split(",") if r.strip())
            alone = not line[: match.start()].strip()
            found.append(Excuse(rules, number + alone, number, match["reason"]))
    return found


def problems(excuses: list[Excuse], known: Collection[str]) -> Iterator[tuple[int, Problem]]:
    """Excuses that excuse nothing: without a reason, without a rule, for an unknown one."""
    form = "write # deployer: ignore[rule] reason"
    for excuse in excuses:
        unknown = sorted(excuse.rules - set(known))
        if not excuse.rules:
            message = "an excuse names no rule"
        elif unknown:
            message = f"an excuse names {unknown[0]!r}, which is no rule"
        elif not excuse.reason:
            message = "an excuse gives no reason"
        else:
            continue
        yield excuse.written, Problem("excuse", message, form, "deployer:")
