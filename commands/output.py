"""Results and errors, as text or as the JSON envelope."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from commands import options
from deployer import __version__, redact

if TYPE_CHECKING:
    from deployer.errors import DeployerError
    from deployer.results import Summary


def envelope(
    data: Any,
    *,
    error: dict[str, Any] | None = None,
    operation_id: str | None = None,
    correlation_id: str | None = None,
) -> str:
    """The one shape that every command prints under `--output json`, without secrets."""
    return json.dumps(
        redact.data(
            {
                "status": "error" if error else "success",
                "data": data,
                "metadata": {
                    "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "operation_id": operation_id,
                    "correlation_id": correlation_id or operation_id,
                    "version": __version__,
                },
                "error": error,
            }
        ),
        indent=2,
        default=str,
    )


def result(
    data: Any,
    text: str,
    *,
    operation_id: str | None = None,
    correlation_id: str | None = None,
) -> None:
    """Print a command's result on stdout, in the form that was asked for, without secrets."""
    if options.current().json:
        click.echo(envelope(data, operation_id=operation_id, correlation_id=correlation_id))
    else:
        click.echo(redact.text(text))


def summary(found: Summary, text: str) -> None:
    """Print what an operation left; several URLs have a line each."""
    seconds = None
    if found.seconds is not None:
        from deployer.console.lines import duration

        seconds = duration(found.seconds)
    urls = found.urls if found.state == "running" and len(found.urls) > 1 else []
    result(
        found.to_dict(),
        "\n  ".join((f"{text}  ({seconds})" if seconds else text, *urls)),
        operation_id=found.operation_id,
        correlation_id=found.correlation_id,
    )


def failure(error: DeployerError, *, as_json: bool) -> None:
    """Print an error: the envelope on stdout, or the whole story on stderr."""
    if as_json:
        click.echo(envelope(None, error=error.to_dict(), operation_id=error.operation_id))
        return
    click.echo(redact.text(_story(error)), err=True)


def _story(error: DeployerError) -> str:
    bold = _bold if _coloured() else str
    place = f"{error.verb} failed" if error.verb else "Error"
    if error.host:
        place += f" on {error.host}"
    if error.step:
        place += f", in step {error.step}"
    lines = [bold(f"{place}: {error.message}")]
    if len(error.findings) > 1:
        lines += [f"  {finding}" for finding in error.findings]
    elif error.findings and error.findings[0].fix and error.findings[0].fix not in error.message:
        lines.append(f"  {error.findings[0].fix}")
    if error.output:
        lines += ["", *(f"  | {line}" for line in error.output), ""]
    if error.hint:
        lines.append(error.hint)
    if error.log:
        lines.append(f"Log: {error.log}")
    if error.resume:
        lines.append(f"To continue: {error.resume}")
    return "\n".join(lines)


def _coloured() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def _bold(text: str) -> str:
    return click.style(text, fg="red", bold=True)


def table(rows: list[list[str]]) -> str:
    """Columns, as wide as they must be; the first row is the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def local_time(utc: str | None) -> str:
    """A stored moment as the reader's clock shows it, with its offset."""
    if not utc:
        return "-"
    return datetime.fromisoformat(utc).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
