"""deployer provision."""

from __future__ import annotations

from typing import Any

import click

from commands import operate, options


@click.command("provision")
@options.raising
def command(name: str, yes: bool, **how: Any) -> None:
    """Make the hosts of ENV, or see that they are there."""
    operate.verb("provision", name, options.call("provision", name, **how))
