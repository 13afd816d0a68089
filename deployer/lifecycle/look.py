"""The look: what is really there, and how much rank that supports. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployer.errors import StepError, hosts_error
from deployer.lifecycle import hosts, infrastructure
from state.machine import TOP_RANK

if TYPE_CHECKING:
    from deployer.lifecycle.session import Session
    from deployer.paths import Workspace
    from state.records import EnvironmentRecord


@dataclass(frozen=True)
class Look:
    """What was seen. `supported` is the rank below the lowest result that is gone."""

    supported: int
    reasons: list[str] = field(default_factory=list)
    """Why not more, one line for each result that is gone."""
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    silent: dict[str, StepError] = field(default_factory=dict)
    """Hosts of which nothing is known, and why: no answer is not an answer."""

    @property
    def healthy(self) -> bool:
        """Whether every service is up from the current release and passed its check."""
        return self.supported == TOP_RANK and not self.silent

    def answered(self) -> Look:
        """This look, if every host answered; else raises `StepError` naming those that didn't."""
        if self.silent:
            raise hosts_error(list(self.silent.values()), len(self.silent) + len(self.hosts))
        return self

    def advice(self, record: EnvironmentRecord) -> str:
        """What to do about a silent host of the user's own that will never answer again."""
        if infrastructure.is_made(record):
            return ""
        words = " ".join(f"--abandon {name}" for name in self.silent)
        return (
            "If it never will again, take it out of provider_options.hosts and run: "
            f"deployer provision {record.name} {words}"
        )


def look(workspace: Workspace, record: EnvironmentRecord, by: Session | None = None) -> Look:
    """Look at every host of an environment; `by` is the operation that does, if one does.

    A host is gone if its provider says so, and then the others are not asked.
    """
    if not record.hosts:
        return Look(0, ["no host is recorded"] if record.rank > 0 else [])
    machines = infrastructure.recorded(workspace, record, by)
    if machines and (gone := machines.missing()):
        return Look(0, gone)
    silent = machines.out_of_reach() if machines else {}
    seen = hosts.inspect(workspace, record, by=by, silent=silent)
    if silent and machines and (gone := machines.drifted()):
        return Look(0, gone)
    lowest, reasons = TOP_RANK, []
    for name, facts in seen.items():
        rank, reason = supported(facts, record)
        lowest = min(lowest, rank)
        if reason:
            reasons.append(f"{name}: {reason}")
    return Look(lowest, reasons, seen, silent)


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
