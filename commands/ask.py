"""Questions: only on a terminal, and never under `--output json`."""

from __future__ import annotations

import sys

import click

from commands import options
from deployer.errors import UsageError


def on_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin is not None and sys.stdin.isatty() and not options.current().json


def confirm(question: str) -> None:
    """Ask for a yes on a terminal; elsewhere the options given are the answer."""
    if on_terminal() and not click.confirm(question, err=True):
        raise UsageError("Nothing was done")


def confirm_name(name: str) -> None:
    """Ask for the environment's name on a terminal; elsewhere `--yes` is needed."""
    if not on_terminal():
        raise UsageError(
            f"destroy removes {name} and its data, and there is no terminal to ask on",
            hint=f"If that is meant: deployer destroy {name} --yes",
        )
    typed = click.prompt(
        f"This removes {name} and its data. Type its name to go on",
        err=True,
        default="",
        show_default=False,
    )
    if typed != name:
        raise UsageError(f"{typed!r} is not {name!r}; nothing was done")


def secret(what: str) -> str:
    """Ask for a secret, which is not shown; an empty answer opens an editor, for several lines."""
    try:
        typed = click.prompt(
            f"{what} (several lines: press Enter, and an editor opens)",
            err=True,
            default="",
            show_default=False,
            hide_input=True,
        )
        return str(typed) or click.edit("", extension=".secret") or ""
    except click.Abort:
        raise KeyboardInterrupt from None
