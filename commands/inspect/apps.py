"""deployer apps."""

from __future__ import annotations

from typing import Any

import click

from commands import operate, options, output


@click.command("apps")
@options.global_options
def command() -> None:
    """List the apps that can be deployed by their name, with their folders to copy from."""
    from deployer.errors import FileError

    with operate.deployer() as found:
        known = found.apps()
    data: list[dict[str, Any]] = []
    lines = []
    for name, app in known:
        if isinstance(app, FileError):
            problem = "; ".join(str(finding) for finding in app.findings)
            data.append({"name": name, "problem": problem})
            lines.append(f"{name:<14}not usable: {problem}")
            continue
        manifest = app.manifest
        data.append(
            {
                "name": name,
                "version": manifest.version,
                "description": manifest.description,
                "folder": str(app.folder),
                "packages": manifest.packages,
                "runtimes": manifest.runtimes,
                "problem": None,
            }
        )
        lines += [f"{name:<14}{manifest.description}", f"{'':<14}{app.folder}"]
    output.result({"apps": data}, "\n".join(lines))
