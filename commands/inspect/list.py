"""deployer list."""

from __future__ import annotations

import click

from commands import options, output
from deployer import reading
from deployer.paths import Workspace


@click.command("list")
@options.global_options
def command() -> None:
    """List the environments of the workspace."""
    workspace = Workspace.find(options.current().directory)
    records = reading.environments(workspace)
    rows = [["NAME", "STATE", "SERVING", "APP", "PROVIDER", "UPDATED"]]
    rows += [
        [
            r.name,
            r.state.value,
            ", ".join(map(str, r.serving)) or "-",
            str(r.config.get("app", "-")),
            str(r.config.get("provider", "-")),
            output.local_time(r.updated_at),
        ]
        for r in records
    ]
    data = {
        "environments": [
            {
                "name": r.name,
                "state": r.state.value,
                "rank": r.rank,
                "serving": r.serving,
                "app": r.config.get("app"),
                "provider": r.config.get("provider"),
                "updated_at": r.updated_at,
            }
            for r in records
        ]
    }
    nothing = "There are no environments yet. Create one: deployer create NAME"
    output.result(data, output.table(rows) if records else nothing)
