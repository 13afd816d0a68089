"""deployer unlock."""

from __future__ import annotations

import click

from commands import operate, options, output
from commands.ask import confirm


@click.command("unlock")
@options.changing
@click.option("--force", is_flag=True, help="End the holder's operation first, if it is alive.")
def command(name: str, yes: bool, lock_wait: float, force: bool) -> None:
    """Show who holds ENV; break the lease of a dead holder, or of a living one with --force.

    A dead holder's lease never has to be broken by hand: the next operation does it.
    """
    if force and not yes:
        confirm(f"End the operation that holds {name}?")
    with operate.deployer() as found:
        call = options.call("unlock", name, lock_wait=lock_wait)
        holder, broken = found.unlock(name, call, force=force)
    data = {
        "name": name,
        "holder": holder.row if holder else None,
        "alive": holder.alive if holder else False,
        "broken": broken,
    }
    if broken:
        word = "ended" if holder and holder.alive else "cleaned up after"
        text = f"{name} is free; {word} {holder}"
    else:
        text = f"{name} is free" + (f"; last held by {holder}" if holder else "")
    output.result(data, text)
