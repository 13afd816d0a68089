"""deployer upgrade."""

from __future__ import annotations

from typing import Any

import click

from commands import operate, options


@click.command("upgrade")
@options.acting
@options.overriding
def command(name: str, yes: bool, **how: Any) -> None:
    """Bring a new version of the application of ENV live, or go back by itself.

    If the new release fails or does not become healthy, the last healthy one is started again;
    the command still fails, with the exit code of what failed. Data in shared/ stays.
    """
    operate.porcelain("upgrade", name, options.call("upgrade", name, **how))
