"""deployer create."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands import operate, options, output

if TYPE_CHECKING:
    from deployer.paths import Workspace


@click.command("create")
@options.changing
@options.overriding
@click.option("--app", metavar="APP", help="A folder with an app.toml, or an app's name.")
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
    app: str | None,
    provider: str | None,
    runtime: str | None,
    source: Path | None,
) -> None:
    """Write environments/ENV.toml where it is absent, and record the environment.

    Without options it is the demo application on this machine. Over a file that exists, an
    option that says otherwise is refused.
    """
    from deployer.lifecycle.create import Wish

    with operate.deployer() as found:
        wish = Wish(_app(app, found.workspace), provider, runtime, source)
        call = options.call("create", name, lock_wait=lock_wait, overrides=overrides)
        summary = found.create(name, wish, call)
        file = found.workspace.shown(found.workspace.environment_file(name))
    output.summary(summary, f"{name} is created: {file}")


def _app(app: str | None, workspace: Workspace) -> str | None:
    """A folder named from here, as the environment file names it: from the workspace."""
    if app is None or ("/" not in app and app not in (".", "..")):
        return app
    folder = Path(app).expanduser().resolve()
    return "./" + os.path.relpath(folder, workspace.root)
