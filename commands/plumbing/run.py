"""deployer run."""

from __future__ import annotations

import click

from commands import operate, options


@click.command("run")
@options.changing
@options.overriding
def command(name: str, yes: bool, lock_wait: float, overrides: tuple[str, ...]) -> None:
    """Start the services of ENV and wait until they are healthy."""
    operate.verb("run", name, options.call("run", name, lock_wait, overrides))
