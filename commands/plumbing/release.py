"""deployer release."""

from __future__ import annotations

from typing import Any

import click

from commands import operate, options


@click.command("release")
@options.raising
def command(name: str, yes: bool, **how: Any) -> None:
    """Put a new release of the application of ENV in place, where it differs."""
    operate.verb("release", name, options.call("release", name, **how))
