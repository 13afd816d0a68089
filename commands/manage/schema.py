"""deployer schema."""

from __future__ import annotations

import json

import click

from commands import options, output
from deployer import schemas


@click.command("schema")
@click.argument("kind", metavar="KIND", type=click.Choice(schemas.KINDS))
@options.global_options
def command(kind: str) -> None:
    """Print the JSON Schema of the files of a KIND, for editors and linters.

    `environment` is environments/NAME.toml, `app` is app.toml, `provider` is provider.toml, `user`
    is deployer.toml, a profile, or your own config.toml.
    """
    found = schemas.schema(kind)
    output.result(found, json.dumps(found, indent=2))
