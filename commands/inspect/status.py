"""deployer status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from commands import operate, options, output

if TYPE_CHECKING:
    from deployer.api import Status


@click.command("status")
@options.name_argument
@options.global_options
def command(name: str) -> None:
    """Show what is recorded of ENV beside what is really running. Changes nothing."""
    with operate.deployer() as found:
        status = found.status(name)
    output.result(_data(status), _text(status))


def _data(status: Status) -> dict[str, Any]:
    return {
        **status.summary.to_dict(),
        "interrupted": status.interrupted,
        "locked_by": status.holder,
        "healthy": status.look.healthy,
        "drift": status.look.reasons,
        "unreachable": {host: error.to_dict() for host, error in status.look.silent.items()},
        "seen": status.look.hosts,
    }


def _text(status: Status) -> str:
    summary = status.summary
    state = summary.state
    if status.interrupted:
        state += " (interrupted: its process is gone)"
    elif status.holder:
        state += f" (locked by {status.holder['actor']}, pid {status.holder['pid']})"
    serving = ", ".join(map(str, summary.serving)) or "nothing"
    lines = [f"{summary.name}: {state}, serving {serving}"]
    for url in summary.urls:
        lines.append(f"  {url}")
    rows = [["SERVICE", "HOST", "STATE", "RELEASE", "PID", "HEALTH"]]
    for host, facts in status.look.hosts.items():
        for name, service in facts["services"].items():
            rows.append(
                [
                    name,
                    host,
                    service["state"],
                    str(service["release"] or "-"),
                    str(service["pid"] or "-"),
                    service["problem"] or "healthy",
                ]
            )
    if len(rows) > 1:
        lines += ["", output.table(rows)]
    for host, error in status.look.silent.items():
        lines += [
            "",
            f"{host} is unreachable: {error.message}",
            *([error.hint] if error.hint else []),
        ]
    if status.look.reasons and summary.record.rank > status.look.supported:
        lines += ["", "Not as recorded:", *(f"  {reason}" for reason in status.look.reasons)]
        lines.append(f"To heal it: {operate.command('deploy', summary.name)}")
    return "\n".join(lines)
