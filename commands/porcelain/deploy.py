"""deployer deploy."""

from __future__ import annotations

from typing import Any

import click

from commands import ask, operate, options, output, planned


@click.command("deploy")
@options.raising
def command(name: str, yes: bool, **how: Any) -> None:
    """Bring ENV to running: look at what is there, then run the verbs that remain.

    Run it again after a failure, after a change of the application or of a setting, or to heal
    what has died. It never creates and never destroys.

    On a terminal it shows the plan and asks before it changes an environment that is running,
    unless --yes is given or its file says `confirm = false`.
    """
    call = options.call("deploy", name, **how)
    with operate.deployer() as found:
        if not yes and ask.on_terminal() and (plan := found.to_confirm(name, call)):
            click.echo("\n".join(planned.text(plan, details=False)), err=True)
            ask.confirm("Deploy that?")
        summary = found.deploy(name, call)
    text = operate.sentence(summary)
    output.summary(summary, text if summary.verbs else f"{text}; there is nothing to do")
