"""deployer reset."""

from __future__ import annotations

from typing import Any

import click

from commands import operate, options
from commands.ask import confirm


@click.command("reset")
@options.acting
@click.option("--data", is_flag=True, help="Remove the data in shared/ too.")
def command(name: str, yes: bool, data: bool, **how: Any) -> None:
    """Take ENV back to configured: services down, releases removed; its data stays."""
    if data and not yes:
        confirm(f"Remove the data of {name} too?")
    words = ["--data"] if data else []
    call = options.call("reset", name, more=words, **how)
    operate.porcelain("reset", name, call, data=data)
