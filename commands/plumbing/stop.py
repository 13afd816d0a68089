"""deployer stop."""

from __future__ import annotations

import click

from commands import operate, options


@click.command("stop")
@options.changing
def command(name: str, yes: bool, lock_wait: float) -> None:
    """Stop the services of ENV. Works whatever its file says by now."""
    operate.verb("stop", name, options.call("stop", name, lock_wait=lock_wait))
