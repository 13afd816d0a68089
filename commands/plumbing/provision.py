"""deployer provision."""

from __future__ import annotations

from typing import Any

import click

from commands import operate, options


@click.command("provision")
@options.raising
@click.option(
    "--abandon",
    multiple=True,
    metavar="HOST",
    help="A host taken out of the list that won't answer again: what is left there stays.",
)
def command(name: str, yes: bool, abandon: tuple[str, ...], **how: Any) -> None:
    """Make the hosts of ENV, or see that they are there and can be used."""
    operate.verb("provision", name, options.call("provision", name, **how), abandon=list(abandon))
