"""deployer deploy."""

from __future__ import annotations

from typing import Any

import click

from commands import operate, options, output


@click.command("deploy")
@options.raising
def command(name: str, yes: bool, **how: Any) -> None:
    """Bring ENV to running: look at what is there, then run the verbs that remain.

    Run it again after a failure, after a change of the application or of a setting, or to heal
    what has died. It never creates and never destroys.
    """
    with operate.deployer() as found:
        summary = found.deploy(name, options.call("deploy", name, **how))
    text = operate.sentence(summary)
    output.summary(summary, text if summary.verbs else f"{text}; there is nothing to do")
