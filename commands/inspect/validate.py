"""deployer validate."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

import click

from commands import operate, options, output


@click.command("validate")
@options.name_argument
@options.global_options
@options.overriding
@click.option(
    "--fail-on",
    type=click.Choice(("error", "warning")),
    default="error",
    help="What is refused [default: error]; warnings are shown in any case.",
)
def command(name: str, fail_on: Literal["error", "warning"], **how: Any) -> None:
    """Read the files of ENV and prove what can be proved without its hosts. Changes nothing.

    Looks at the environment file, the app and the provider, and at the values inside the files
    of the workspace. Asks the repository, where the app is in one.

    Exits 3 if a file can't be read into the model, 7 if a gate found something.
    """
    with operate.deployer() as found:
        call = options.call("validate", name, **how)
        loaded, warnings = found.validate(name, call, fail_on=fail_on)
    data = {
        "name": name,
        "findings": [asdict(finding) for finding in warnings],
        "configuration": loaded.configuration.to_record(),
    }
    said = f"{name} is valid"
    if warnings:
        said += f", with {len(warnings)} warning{'s' if len(warnings) > 1 else ''}"
    output.result(data, "\n".join((*map(str, warnings), said)))
