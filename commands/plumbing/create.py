"""deployer create."""

from __future__ import annotations

from pathlib import Path

import click

from commands import ask, interview, operate, options, output


@click.command("create")
@options.changing
@options.overriding
@click.option(
    "--app", metavar="APP", help="An app's name, folder or .tar.gz, or URL#REF of a git repository."
)
@click.option("--provider", metavar="NAME", help="Where it runs [default: local].")
@click.option("--runtime", metavar="NAME", help="How services run.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="An environment file to start from.",
)
def command(
    name: str,
    yes: bool,
    lock_wait: float,
    overrides: tuple[str, ...],
    profile: str | None,
    app: str | None,
    provider: str | None,
    runtime: str | None,
    source: Path | None,
) -> None:
    """Write environments/ENV.toml where it is absent, and record the environment.

    Without options it is the demo application on this machine. On a terminal it asks for what
    was not said, unless --yes is given; a secret is never asked for, only where it is. Over a
    file that exists, an option that says otherwise is refused.
    """
    from deployer.apps.reference import from_here
    from deployer.lifecycle.create import Wish

    with operate.deployer() as found:
        wish = Wish(from_here(app, found.workspace.root) if app else app, provider, runtime, source)
        is_new = source is None and not found.workspace.environment_file(name).exists()
        if is_new and not yes and ask.on_terminal():
            wish, overrides = interview.ask(found, wish, overrides)
        call = options.call(
            "create", name, lock_wait=lock_wait, overrides=overrides, profile=profile
        )
        summary = found.create(name, wish, call)
        file = found.workspace.shown(found.workspace.environment_file(name))
    output.summary(summary, f"{name} is created: {file}")
