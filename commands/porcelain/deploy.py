"""deployer deploy."""

from __future__ import annotations

import click

from commands import operate, options, output


@click.command("deploy")
@options.changing
@options.overriding
def command(name: str, yes: bool, lock_wait: float, overrides: tuple[str, ...]) -> None:
    """Bring ENV to running: look at what is there, then run the verbs that remain.

    Run it again after a failure, after a change of the application or of a setting, or to heal
    what has died. It never creates and never destroys.
    """
    with operate.deployer() as found:
        summary = found.deploy(name, options.call("deploy", name, lock_wait, overrides))
    text = operate.sentence(summary)
    output.summary(summary, text if summary.verbs else f"{text}; there is nothing to do")
