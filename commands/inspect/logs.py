"""deployer logs."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import TYPE_CHECKING

import click

from commands import operate, options, output
from deployer import redact
from deployer.errors import UsageError

if TYPE_CHECKING:
    from deployer.lifecycle.logs import Line

MOST = 100_000
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def _moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """Unix time of a span back from now, or of a time in ISO 8601; without a zone it is local."""
    if value is None:
        return None
    span = re.fullmatch(r"(\d{1,9})([smhd])", value)
    if span:
        return time.time() - int(span[1]) * UNITS[span[2]]
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is neither a span like 10m nor a time like 2026-01-31T08:00."
        ) from None


@click.command("logs")
@options.name_argument
@click.argument("service", required=False)
@options.global_options
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is written.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, MOST),
    metavar="N",
    help="How many of the last lines of each service [default: 100; all with --since].",
)
@click.option(
    "--since",
    callback=_moment,
    metavar="TIME",
    help="Only lines from then on: a span like 30s, 10m, 2h, 1d, or a time in ISO 8601.",
)
def command(
    name: str, service: str | None, follow: bool, lines: int | None, since: float | None
) -> None:
    """Show what the services of ENV wrote, or one SERVICE of it, on all its hosts.

    --since goes by the times that lines say themselves; a line without one belongs to the line
    before it, and a service that writes none is shown as if --since weren't there.
    """
    if follow and options.current().json:
        raise UsageError("--follow has no end, and a JSON document needs one")
    with operate.deployer() as found:
        last = lines if lines is not None else 100 if since is None else MOST
        said = found.logs(name, service, last=last, since=since, follow=follow)
        if options.current().json:
            data = [{"host": x.host, "service": x.service, "line": x.text} for x in said]
            output.result({"name": name, "lines": data}, "")
            return
        several = len(found.environment(name).hosts) > 1
        for line in said:
            click.echo(redact.text(_shown(line, several=several, alone=service is not None)))


def _shown(line: Line, *, several: bool, alone: bool) -> str:
    """A line with where it comes from, unless it can only be there."""
    place = [line.host] if several else []
    place += [] if alone else [line.service]
    return f"{' '.join(place)} | {line.text}" if place else line.text
