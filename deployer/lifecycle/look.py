"""The look: what is really there, and how much rank that supports. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployer.lifecycle import hosts
from state.machine import TOP_RANK

if TYPE_CHECKING:
    from deployer.paths import Workspace
    from state.records import EnvironmentRecord


@dataclass(frozen=True)
class Look:
    """What was seen. `supported` is the rank below the lowest result that is gone."""

    supported: int
    reasons: list[str] = field(default_factory=list)
    """Why not more, one line for each result that is gone."""
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Whether every service is up from the current release and passed its check."""
        return self.supported == TOP_RANK


def look(workspace: Workspace, record: EnvironmentRecord) -> Look:
    """Look at every host of an environment. Raises `StepError` if one doesn't answer."""
    if not record.hosts:
        return Look(0, ["no host is recorded"] if record.rank > 0 else [])
    seen = hosts.inspect(workspace, record)
    lowest, reasons = TOP_RANK, []
    for name, facts in seen.items():
        rank, reason = supported(facts, record)
        lowest = min(lowest, rank)
        if reason:
            reasons.append(f"{name}: {reason}")
    return Look(lowest, reasons, seen)


def supported(facts: dict[str, Any], record: EnvironmentRecord) -> tuple[int, str]:
    """The rank that the facts of one host support, and why not more."""
    released = record.inputs.get("release", {}).get("number")
    if not facts["prepared"]:
        return 1, "what configure made is gone"
    if facts["current"] is None:
        return 2, "there is no release"
    if facts["current"] != released:
        return 2, f"current is release {facts['current']}, not {released}"
    if facts["problem"]:
        return 2, f"release {released}: {facts['problem']}"
    wrong = [f"{name}: {s['problem']}" for name, s in facts["services"].items() if s["problem"]]
    return (3, "; ".join(wrong)) if wrong else (TOP_RANK, "")
