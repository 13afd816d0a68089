"""Renderers of events. Each is a subscriber with a `close`; results are not their business."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal, Protocol, TextIO

if TYPE_CHECKING:
    from deployer.events import Event

Progress = Literal["auto", "rich", "plain", "json", "github", "none"]


class Console(Protocol):
    """A subscriber that writes to stderr until it is closed."""

    def __call__(self, event: Event) -> None:
        """Show an event."""

    def close(self) -> None:
        """Show what is left, and give the terminal back."""


def open_console(progress: Progress, *, quiet: bool, verbose: bool) -> Console | None:
    """The renderer that was asked for; `auto` chooses by where it runs. None shows nothing."""
    if progress == "auto":
        progress = _choose()
    if progress == "none" or (quiet and progress != "json"):
        return None
    stream: TextIO = sys.stderr
    if progress == "json":
        from deployer.console.json import JsonConsole

        return JsonConsole(stream)
    if progress == "rich":
        from deployer.console.rich import RichConsole

        return RichConsole(verbose=verbose)
    if progress == "github":
        from deployer.console.github import GithubConsole

        return GithubConsole(stream, verbose=verbose)
    from deployer.console.plain import PlainConsole

    return PlainConsole(stream, verbose=verbose)


def _choose() -> Progress:
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return "github"
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return "rich" if terminal else "plain"
