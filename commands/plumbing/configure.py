"""deployer configure."""

from __future__ import annotations

from typing import Any

import click

from commands import operate, options


@click.command("configure")
@options.raising
def command(name: str, yes: bool, **how: Any) -> None:
    """Prepare the hosts of ENV for its application."""
    operate.verb("configure", name, options.call("configure", name, **how))
