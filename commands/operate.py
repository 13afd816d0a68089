"""What every changing command does: open a console, operate, print what came of it."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from commands import options, output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.api import Deployer
    from deployer.lifecycle.session import Call
    from deployer.results import Summary


@contextmanager
def deployer() -> Iterator[Deployer]:
    """The workspace's deployer, with the console that was asked for."""
    from deployer.api import Deployer
    from deployer.console import open_console

    chosen = options.current()
    found = Deployer.open(chosen.directory)
    console = open_console(
        chosen.progress,  # type: ignore[arg-type]
        quiet=chosen.quiet,
        verbose=chosen.verbose,
    )
    if console:
        found.bus.subscribe(console)
    try:
        yield found
    finally:
        if console:
            console.close()


def verb(verb: str, name: str, call: Call, **choices: Any) -> None:
    """Run a plumbing verb and print where the environment is now."""
    with deployer() as found:
        summary = found.run_verb(name, verb, call, choices)
    output.summary(summary, sentence(summary))


def porcelain(verb: str, name: str, call: Call, **choices: Any) -> None:
    """Run a porcelain command and print where the environment is now."""
    with deployer() as found:
        summary = found.compose(name, verb, call, **choices)
    output.summary(summary, sentence(summary))


def command(*words: str) -> str:
    """A command line to type next, in the same workspace."""
    return shlex.join([*options.program(), *words])


def sentence(summary: Summary) -> str:
    """Where an environment is, in one sentence."""
    text = f"{summary.name} is {summary.state}"
    if summary.state == "running" and summary.urls:
        return f"{text} at {summary.urls[0]}" if len(summary.urls) == 1 else text
    if summary.serving:
        text += f", still serving release {', '.join(map(str, summary.serving))}"
    return text
