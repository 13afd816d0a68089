"""deployer stop."""

from __future__ import annotations

from typing import Any

import click

from commands import operate, options


@click.command("stop")
@options.acting
def command(name: str, yes: bool, **how: Any) -> None:
    """Stop the services of ENV. Works whatever its file says by now."""
    operate.verb("stop", name, options.call("stop", name, **how))
