"""deployer restore."""

from __future__ import annotations

from pathlib import Path

import click

from commands import operate, options, output
from commands.ask import confirm


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@options.global_options
@click.option("-y", "--yes", is_flag=True, help="Ask nothing.")
def command(file: Path, yes: bool) -> None:
    """Put the copy FILE in the place of the store, which is kept beside the backups.

    What was done since the copy was made is then unknown to the store: run check or deploy.
    """
    if not yes:
        confirm(f"Put {file} in the place of the store?")
    with operate.deployer() as found:
        copy, kept = found.restore(file)
    data = {"path": str(copy.path), "rows": copy.rows, "replaced": str(kept) if kept else None}
    text = f"{file} is the store now ({sum(copy.rows.values())} rows)"
    output.result(data, text + (f"; the one before is {kept}" if kept else ""))
