"""deployer provision."""

from __future__ import annotations

import click

from commands import operate, options


@click.command("provision")
@options.changing
@options.overriding
def command(name: str, yes: bool, lock_wait: float, overrides: tuple[str, ...]) -> None:
    """Make the hosts of ENV, or see that they are there."""
    operate.verb("provision", name, options.call("provision", name, lock_wait, overrides))
