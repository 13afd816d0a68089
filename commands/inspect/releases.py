"""deployer releases."""

from __future__ import annotations

import click

from commands import options, output
from deployer import reading
from deployer.paths import Workspace
from deployer.results import commit_text


@click.command("releases")
@options.name_argument
@options.global_options
def command(name: str) -> None:
    """List the releases of ENV, the newest first."""
    show(name)


def show(name: str) -> None:
    """Print the releases of an environment."""
    found = reading.releases(Workspace.find(options.current().directory), name)
    rows = [["RELEASE", "VERSION", "COMMIT", "MADE", "BY", "STATUS"]]
    for one in found:
        marks = [one.status]
        marks += ["never healthy"] if one.status == "released" and not one.healthy_at else []
        marks += ["current"] if one.current else []
        marks += ["serving"] if one.serving else []
        marks += ["last healthy"] if one.last_healthy else []
        made = output.local_time(one.created_at)
        who, status = one.actor or "-", ", ".join(marks)
        commit = commit_text(one.source, "+ changes") or "-"
        rows.append([str(one.number), one.version, commit, made, who, status])
    data = {"name": name, "releases": [one.to_dict() for one in found]}
    nothing = f"{name} has no releases yet"
    output.result(data, output.table(rows) if found else nothing)
