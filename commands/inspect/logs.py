"""deployer logs."""

from __future__ import annotations

import click

from commands import operate, options, output
from deployer.errors import UsageError


@click.command("logs")
@options.name_argument
@click.argument("service", required=False)
@options.global_options
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is written.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 100_000),
    default=100,
    metavar="N",
    help="How many of the last lines of each service [default: 100].",
)
def command(name: str, service: str | None, follow: bool, lines: int) -> None:
    """Show what the services of ENV wrote, or one SERVICE of it."""
    from deployer.runtimes import logs

    if follow and options.current().json:
        raise UsageError("--follow has no end, and a JSON document needs one")
    with operate.deployer() as found:
        files = found.log_files(name, service)
    last = logs.tail(files, lines)
    shown = [logs.shown(line, alone=len(files) == 1) for line in last]
    data = {"name": name, "lines": [{"service": s, "line": text} for s, text in last]}
    if shown or options.current().json:
        output.result(data, "\n".join(shown))
    if follow:
        for line in logs.follow(files):
            click.echo(logs.shown(line, alone=len(files) == 1))
