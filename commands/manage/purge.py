"""deployer purge."""

from __future__ import annotations

import click

from commands import operate, options, output
from commands.ask import confirm


@click.command("purge")
@options.changing
def command(name: str, yes: bool, lock_wait: float) -> None:
    """Remove the records of a destroyed ENV, its history and logs too.

    Refused while anything of it may be alive. Your environment file stays.
    """
    if not yes:
        confirm(f"Remove the history of {name}?")
    with operate.deployer() as found:
        found.purge(name, options.call("purge", name, lock_wait=lock_wait))
    output.result({"name": name}, f"The records of {name} are removed")
