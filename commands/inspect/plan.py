"""deployer plan."""

from __future__ import annotations

import click

from commands import operate, options, output
from commands.planned import text
from deployer.errors import Exit


@click.command("plan")
@options.name_argument
@options.global_options
@options.overriding
@click.option(
    "--skip-hooks", is_flag=True, help="As `deploy --skip-hooks` would: without its hooks."
)
@click.option(
    "--detailed-exitcode", is_flag=True, help="Exit 8 if something would be changed, or may be."
)
def command(
    name: str,
    overrides: tuple[str, ...],
    profile: str | None,
    skip_hooks: bool,
    detailed_exitcode: bool,
) -> int:
    """Show what `deploy` would do with ENV, verb by verb and step by step. Changes nothing.

    The verbs are rehearsed on a copy of the records: Terraform plans, Ansible runs in check mode,
    the release is compared file by file with the one on the hosts. What hangs on hosts that don't
    exist yet is shown as unknown.

    Exits 3 or 7 where `deploy` would be refused before it looks, else 0.
    """
    call = options.call("deploy", name, overrides=overrides, profile=profile, skip_hooks=skip_hooks)
    with operate.deployer() as found:
        plan = found.plan(name, call)
    lines = text(plan, details=True)
    if plan.changes and not any(verb.problem for verb in plan.verbs):
        lines += ["", f"To do it: {call.resume}"]
    output.result(plan.to_dict(), "\n".join(lines))
    return Exit.NOT_AS_DESIRED if detailed_exitcode and plan.changes else Exit.DONE
