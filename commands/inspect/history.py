"""deployer history."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from commands import operate, options, output
from deployer import reading
from deployer.errors import Code, NotFoundError
from deployer.paths import Workspace
from deployer.results import commit_text

if TYPE_CHECKING:
    from pathlib import Path

    from state.records import OperationRecord, ReleaseRecord, StepRecord


@click.command("history")
@options.name_argument
@options.global_options
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help="Only the last N operations.",
)
@click.option("--operation", metavar="ID", help="One operation, with all that is known of it.")
def command(name: str, limit: int | None, operation: str | None) -> None:
    """Show what was done to ENV: operations, verbs and steps, with durations and errors."""
    workspace = Workspace.find(options.current().directory)
    found = reading.history(workspace, name, limit or -1)
    if operation is None:
        made = reading.made_by(workspace, [o for o, _ in found])
        output.result({"name": name, "operations": _nested(found, made)}, _text(found))
        return
    one = [(o, steps) for o, steps in found if operation in (o.id, o.parent_id)]
    if not one:
        raise NotFoundError(
            f"{name} has no operation {operation!r}",
            hint=f"Its operations: {operate.command('history', name, '--output', 'json')}",
            code=Code.OPERATION_NOT_FOUND,
        )
    made = reading.made_by(workspace, [o for o, _ in one])
    log = workspace.log(name, one[0][0].parent_id or operation)
    events = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    data = {
        "name": name,
        "operations": _nested(one, made),
        "log": str(log) if events else None,
        "events": [json.loads(line) for line in events],
    }
    output.result(data, _details(one, made, log if events else None))


def _details(
    found: list[tuple[OperationRecord, list[StepRecord]]],
    made: dict[str, ReleaseRecord],
    log: Path | None,
) -> str:
    first = found[0][0]
    rows = [
        ["operation", first.id],
        ["command", first.command or "-"],
        ["actor", first.actor or "-"],
        ["host", f"{first.host} (pid {first.pid})"],
        ["correlation", first.correlation_id or "-"],
        ["token", str(first.token)],
        *(["release", _release(made[o.id])] for o, _ in found if o.id in made),
        ["log", str(log) if log else "-"],
    ]
    return f"{output.table(rows)}\n\n{_text(found)}"


def _release(release: ReleaseRecord) -> str:
    source = release.manifest.get("source")
    commit = commit_text(source)
    return (
        f"{release.number}: {release.app} {release.app_version}"
        + (f" from {source['reference']}" if source else "")
        + (f" at {commit}" if commit else "")
    )


def _nested(
    found: list[tuple[OperationRecord, list[StepRecord]]], made: dict[str, ReleaseRecord]
) -> list[dict[str, Any]]:
    by_id: dict[str, dict[str, Any]] = {}
    roots: list[dict[str, Any]] = []
    for operation, steps in found:
        entry = {**asdict(operation), "steps": [asdict(step) for step in steps], "verbs": []}
        if release := made.get(operation.id):
            entry["release"] = {
                "number": release.number,
                "app": release.app,
                "app_version": release.app_version,
                "source": release.manifest.get("source"),
            }
        by_id[operation.id] = entry
        parent = by_id.get(operation.parent_id or "")
        (parent["verbs"] if parent else roots).append(entry)
    return roots


def _text(found: list[tuple[OperationRecord, list[StepRecord]]]) -> str:
    lines: list[str] = []
    for operation, steps in found:
        indent = "    " if operation.parent_id else ""
        if not operation.parent_id and lines:
            lines.append("")
        lines.append(f"{indent}{_headline(operation)}")
        for step in steps:
            seconds = f"  {step.seconds:.1f}s" if step.seconds is not None else ""
            tries = f"  ({step.attempts} attempts)" if step.attempts > 1 else ""
            lines.append(f"{indent}    {step.outcome:<11} {step.title}{seconds}{tries}")
        if operation.error and not _told_by_child(operation, found):
            lines.append(f"{indent}    error: {operation.error['message']}")
    return "\n".join(lines) or "Nothing was done yet."


def _told_by_child(
    operation: OperationRecord, found: list[tuple[OperationRecord, list[StepRecord]]]
) -> bool:
    return any(o.parent_id == operation.id and o.error == operation.error for o, _ in found)


def _headline(operation: OperationRecord) -> str:
    outcome = operation.outcome or "not ended"
    seconds = f" in {operation.seconds:.1f}s" if operation.seconds is not None else ""
    changed = "" if operation.changed or operation.outcome != "succeeded" else ", nothing changed"
    states = f"  {operation.from_state} → {operation.to_state}" if operation.to_state else ""
    if operation.parent_id:
        return f"{operation.verb}  {outcome}{seconds}{changed}{states}"
    when = output.local_time(operation.started_at)
    return f"{when}  {operation.verb}  {outcome}{seconds}{changed}{states}  by {operation.actor}"
