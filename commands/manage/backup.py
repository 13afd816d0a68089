"""deployer backup."""

from __future__ import annotations

from pathlib import Path

import click

from commands import operate, options, output


@click.command("backup")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@options.global_options
def command(file: Path | None) -> None:
    """Copy the store to FILE, by default in the backups beside it. Operations may go on."""
    with operate.deployer() as found:
        copy = found.backup(file)
    data = {"path": str(copy.path), "schema": copy.schema, "rows": copy.rows}
    output.result(data, f"{copy.path} holds {sum(copy.rows.values())} rows, and is whole")
