"""deployer doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from commands import operate, options, output
from deployer.errors import Exit

if TYPE_CHECKING:
    from deployer.doctor import Diagnosis


@click.command("doctor")
@options.global_options
def command() -> int:
    """Show the programs that deployer works with on this machine: versions, and what is missing.

    Exits 8 if something is missing that the provider `local` needs, or an environment of this
    workspace.
    """
    with operate.deployer() as found:
        diagnosis = found.doctor()
    output.result(diagnosis.to_dict(), _text(diagnosis))
    return Exit.DONE if diagnosis.healthy else Exit.NOT_AS_DESIRED


def _text(diagnosis: Diagnosis) -> str:
    rows = [["TOOL", "VERSION", "MINIMUM", "NEEDED FOR"]]
    for one in diagnosis.findings:
        version = one.version or ("missing" if one.problem else "there")
        rows.append([one.tool.name, version, one.tool.minimum or "-", one.tool.purpose])
    lines = [output.table(rows)]
    wrong = [one for one in diagnosis.findings if one.problem]
    if wrong:
        lines += ["", "Missing, or too old:"]
        lines += [f"  {one.tool.name}: {one.problem}. {one.fix}" for one in wrong]
    for name, why in diagnosis.environments.items():
        lines += ["", f"{name} can't be deployed from here: {why}"]
    return "\n".join(lines)
