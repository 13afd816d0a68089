"""deployer validate."""

from __future__ import annotations

import click

from commands import operate, options, output


@click.command("validate")
@options.name_argument
@options.global_options
@options.overriding
def command(name: str, overrides: tuple[str, ...]) -> None:
    """Read the files of ENV and prove what can be proved offline. Touches nothing.

    Exits 3 if a file can't be read into the model, 7 if a gate found something.
    """
    with operate.deployer() as found:
        loaded = found.validate(name, options.call("validate", name, overrides=overrides))
    data = {"name": name, "findings": [], "configuration": loaded.configuration.to_record()}
    output.result(data, f"{name} is valid")
