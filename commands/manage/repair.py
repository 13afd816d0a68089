"""deployer repair."""

from __future__ import annotations

import click

from commands import operate, options, output


@click.command("repair")
@options.changing
@click.option("--apply", is_flag=True, help="Record it; without this it is only printed.")
def command(name: str, yes: bool, lock_wait: float, apply: bool) -> None:
    """Print what a look would lower of the record of ENV, or record it with --apply.

    Only the record changes, never a host.
    """
    with operate.deployer() as found:
        call = options.call("repair", name, lock_wait=lock_wait)
        repair = found.repair(name, call, apply=apply)
    data = {
        "name": name,
        "state": repair.before.state.value,
        "supported": repair.after.state.value,
        "reasons": repair.reasons,
        "applied": apply and repair.needed,
    }
    if not repair.needed:
        output.result(data, f"{name} is {repair.after.state.value}, and that is true")
        return
    word = "was lowered" if apply else "would be lowered"
    lines = [f"{name} {word} from {repair.before.state.value} to {repair.after.state.value}:"]
    lines += [f"  {reason}" for reason in repair.reasons]
    if not apply:
        lines.append(f"To record it: {operate.command('repair', name, '--apply')}")
    output.result(data, "\n".join(lines))
