"""deployer rollback."""

from __future__ import annotations

from typing import Any

import click

from commands import operate, options
from commands.inspect import releases


@click.command("rollback")
@options.acting
@click.argument("release", type=click.IntRange(1), required=False)
@click.option("--list", "listed", is_flag=True, help="Only show what there is to go back to.")
def command(name: str, yes: bool, release: int | None, listed: bool, **how: Any) -> None:
    """Go back to RELEASE of ENV; without one, to the last healthy one before the current.

    The files of the application are not read, nor changed: the next `deploy` releases them again.
    """
    if listed:
        releases.show(name)
        return
    words = [str(release)] if release else []
    call = options.call("rollback", name, more=words, **how)
    operate.porcelain("rollback", name, call, number=release)
