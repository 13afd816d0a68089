"""deployer redeploy."""

from __future__ import annotations

from typing import Any

import click

from commands import operate, options


@click.command("redeploy")
@options.raising
def command(name: str, yes: bool, **how: Any) -> None:
    """Release the application of ENV as it is now, and start its services anew.

    Hosts are neither made nor prepared: for that there is `deploy`.
    """
    operate.porcelain("redeploy", name, options.call("redeploy", name, **how))
