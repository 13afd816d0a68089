"""deployer release."""

from __future__ import annotations

import click

from commands import operate, options


@click.command("release")
@options.changing
@options.overriding
def command(name: str, yes: bool, lock_wait: float, overrides: tuple[str, ...]) -> None:
    """Put a new release of the application of ENV in place, where it differs."""
    operate.verb("release", name, options.call("release", name, lock_wait, overrides))
