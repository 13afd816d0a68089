"""deployer configure."""

from __future__ import annotations

import click

from commands import operate, options


@click.command("configure")
@options.changing
@options.overriding
def command(name: str, yes: bool, lock_wait: float, overrides: tuple[str, ...]) -> None:
    """Prepare the hosts of ENV for its application."""
    operate.verb("configure", name, options.call("configure", name, lock_wait, overrides))
