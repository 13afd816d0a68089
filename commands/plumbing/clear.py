"""deployer clear."""

from __future__ import annotations

from typing import Any

import click

from commands import operate, options
from commands.ask import confirm


@click.command("clear")
@options.acting
@click.option("--data", is_flag=True, help="Remove the data in shared/ too.")
def command(name: str, yes: bool, data: bool, **how: Any) -> None:
    """Remove the releases of ENV; its data in shared/ stays unless --data is given."""
    if data and not yes:
        confirm(f"Remove the data of {name} too?")
    operate.verb("clear", name, options.call("clear", name, **how), data=data)
