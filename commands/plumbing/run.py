"""deployer run."""

from __future__ import annotations

from typing import Any

import click

from commands import operate, options


@click.command("run")
@options.raising
def command(name: str, yes: bool, **how: Any) -> None:
    """Start the services of ENV and wait until they are healthy."""
    operate.verb("run", name, options.call("run", name, **how))
