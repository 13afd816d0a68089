"""deployer show."""

from __future__ import annotations

import click

from commands import options, output
from deployer import reading
from deployer.paths import Workspace
from deployer.results import commit_text


@click.command("show")
@options.name_argument
@options.global_options
def command(name: str) -> None:
    """Show ENV as it is recorded."""
    workspace = Workspace.find(options.current().directory)
    found = reading.show(workspace, name)
    record, config = found.record, found.record.config
    release = record.inputs.get("release", {}).get("number") if record.exists else None
    commit = commit_text(found.source)
    rows = [
        ("state", record.state.value),
        ("release", str(release or "-")),
        ("serving", ", ".join(map(str, record.serving)) or "-"),
        ("urls", " ".join(found.urls) or "-"),
        ("app", str(config.get("app", "-"))),
        *([("commit", commit)] if commit else []),
        ("provider", str(config.get("provider", "-"))),
        ("runtime", str(config.get("runtime", "-"))),
        *((f"settings.{key}", str(value)) for key, value in config.get("settings", {}).items()),
        *((f"host {host.name}", host.address) for host in record.hosts),
        ("file", workspace.shown(workspace.environment_file(name))),
        ("created", output.local_time(record.created_at)),
        ("updated", output.local_time(record.updated_at)),
    ]
    output.result(found.to_dict(), output.table([[record.name, ""], *map(list, rows)]))
