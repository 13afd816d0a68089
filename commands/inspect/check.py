"""deployer check."""

from __future__ import annotations

from typing import Any

import click

from commands import operate, options, output
from deployer.errors import Exit


@click.command("check")
@options.name_argument
@options.global_options
@options.overriding
def command(name: str, **how: Any) -> int:
    """Tell each difference between what is recorded of ENV and what is there.

    Looks at hosts, release, services and their health, and at what was changed in the files
    since. Changes nothing. Exits 8 if anything differs.
    """
    with operate.deployer() as found:
        differences = found.check(name, options.call("check", name, **how))
    data = {"name": name, "differences": [d.to_dict() for d in differences]}
    if not differences:
        output.result(data, f"{name} is as recorded")
        return Exit.DONE
    lines = [f"{name} is not as recorded:"]
    lines += [f"  {d.host + ': ' if d.host else ''}{d.message}" for d in differences]
    lines.append(f"To mend it: {operate.command('deploy', name)}")
    output.result(data, "\n".join(lines))
    return Exit.NOT_AS_DESIRED
