"""deployer destroy."""

from __future__ import annotations

from typing import Any

import click

from commands import operate, options
from commands.ask import confirm_name


@click.command("destroy")
@options.acting
@click.option(
    "--abandon",
    multiple=True,
    metavar="HOST",
    help="A host of your own that won't answer again: what is left there stays.",
)
def command(name: str, yes: bool, abandon: tuple[str, ...], **how: Any) -> None:
    """Remove ENV with its data; its history and your file stay. Can be called again."""
    with operate.deployer() as found:
        if not yes and found.environment(name).exists:
            confirm_name(name)
    call = options.call("destroy", name, **how)
    operate.verb("destroy", name, call, abandon=list(abandon))
