"""A plan as text: in full for `plan`, in short before `deploy` asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.console.lines import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.lifecycle.plan import Plan, PlannedVerb
    from deployer.results import Change

MARKS = {
    "create": "+",
    "start": "+",
    "change": "~",
    "update": "~",
    "restart": "~",
    "replace": "±",
    "remove": "-",
    "delete": "-",
    "stop": "-",
}
SHOWN = 20  # changes of one step; the rest is counted


def text(plan: Plan, *, details: bool) -> list[str]:
    """The lines that show a plan; `details` adds the attributes and diffs of each change."""
    serving = ", ".join(map(str, plan.serving))
    lines = [f"{plan.name} is {plan.state}" + (f", serving release {serving}" if serving else "")]
    lines += [f"  warning: {warning}" for warning in plan.warnings]
    lines += [f"  gone: {reason}" for reason in plan.gone]
    if not plan.changes:
        return [*lines, "Nothing would be changed."]
    for verb in plan.verbs:
        lines += _verb(verb, details)
    return lines


def _verb(verb: PlannedVerb, details: bool) -> Iterator[str]:
    last = f" (last time {duration(verb.seconds)})" if verb.seconds is not None else ""
    if verb.problem:
        where = f" on {verb.problem.host}" if verb.problem.host else ""
        yield f"{verb.verb}: would fail{where}: {verb.problem.message}"
        if verb.problem.hint:
            yield f"  {verb.problem.hint}"
        return
    match verb.outcome:
        case "no-change":
            yield f"{verb.verb}: nothing to change"
        case "skip":
            yield f"{verb.verb}: skipped, {verb.reason}"
        case "unknown":
            yield f"{verb.verb}: unknown, {verb.reason}{last}"
        case _:
            yield f"{verb.verb}, because {verb.reason}{last}"
    yield from (f"  warning: {warning}" for warning in verb.warnings)
    for step in verb.steps:
        yield f"  {step.title}"
        for change in step.changes[:SHOWN]:
            yield from _change(change, details)
        if len(step.changes) > SHOWN:
            yield f"    … and {len(step.changes) - SHOWN} more (all with --output json)"


def _change(change: Change, details: bool) -> Iterator[str]:
    where = f" on {change.host}" if change.host else ""
    yield f"    {MARKS[change.action]} {change.action} {change.kind} {change.name}{where}"
    if details:
        yield from (f"        {line}" for line in change.details)
