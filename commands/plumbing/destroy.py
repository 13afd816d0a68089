"""deployer destroy."""

from __future__ import annotations

import click

from commands import operate, options
from commands.ask import confirm_name


@click.command("destroy")
@options.changing
def command(name: str, yes: bool, lock_wait: float) -> None:
    """Remove ENV with its data; its history and your file stay. Can be called again."""
    with operate.deployer() as found:
        if not yes and found.environment(name).exists:
            confirm_name(name)
    operate.verb("destroy", name, options.call("destroy", name, lock_wait=lock_wait))
