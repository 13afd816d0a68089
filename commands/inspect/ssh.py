"""deployer ssh."""

from __future__ import annotations

import os

import click

from commands import operate, options


@click.command("ssh")
@options.name_argument
@click.argument("host", required=False)
@options.global_options
def command(name: str, host: str | None) -> None:
    """Open a shell on the host of ENV, or on one HOST of several."""
    with operate.deployer() as found:
        words = found.shell(name, host)
    os.execvp(words[0], words)  # noqa: S606 - the terminal is the shell's from here on
