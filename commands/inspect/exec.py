"""deployer exec."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from commands import operate, options, output

if TYPE_CHECKING:
    from deployer.lifecycle.access import Result


@click.command("exec", context_settings={"ignore_unknown_options": True})
@options.name_argument
@click.option("--host", metavar="HOST", help="On this host only.")
@click.option("--group", metavar="GROUP", help="On the hosts of this group only.")
@click.argument("words", nargs=-1, required=True, metavar="-- COMMAND...")
@options.global_options
def command(name: str, host: str | None, group: str | None, words: tuple[str, ...]) -> int:
    """Run COMMAND on the hosts of ENV, side by side, as the user who logs in.

    Exits with the command's own exit code, with the highest of several hosts.
    """
    with operate.deployer() as found:
        results = found.execute(name, list(words), host=host, group=group)
    if options.current().json:
        data = {
            n: {"code": r.code, "stdout": r.stdout, "stderr": r.stderr, "error": r.error}
            for n, r in results.items()
        }
        output.result({"name": name, "hosts": data}, "")
    else:
        for n, result in results.items():
            _show(n, result, alone=len(results) == 1)
    return max(result.code for result in results.values())


def _show(name: str, result: Result, *, alone: bool) -> None:
    for text, err in ((result.stdout, False), (result.error or result.stderr, True)):
        if alone:
            click.echo(text, nl=bool(text) and not text.endswith("\n"), err=err)
        else:
            for line in text.splitlines():
                click.echo(f"{name} | {line}", err=err)
