"""deployer restart."""

from __future__ import annotations

from typing import Any

import click

from commands import operate, options


@click.command("restart")
@options.acting
@click.argument("service", required=False)
def command(name: str, yes: bool, service: str | None, **how: Any) -> None:
    """Start the services of ENV anew, or one SERVICE, and wait until all are healthy."""
    words = [service] if service else []
    call = options.call("restart", name, more=words, **how)
    operate.porcelain("restart", name, call, service=service)
