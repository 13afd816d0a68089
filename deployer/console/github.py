"""GitHub Actions: a group for each verb, and an annotation for the error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer import events
from deployer.console.lines import Line, laid_out
from deployer.console.plain import PlainConsole

if TYPE_CHECKING:
    from deployer.events import Event


class GithubConsole(PlainConsole):
    """Plain lines inside workflow commands."""

    def show(self, event: Event) -> bool:
        """Open a group with a verb, close it with its end."""
        if isinstance(event, events.OperationFailed) and not event.porcelain:
            self._command("endgroup")
            error = event.error
            place = f" on {error['host']}" if error.get("host") else ""
            self._command(
                f"error title={_escaped(f'{event.verb} failed{place}', title=True)}",
                _escaped(error["message"]),
            )
            return True
        shown = super().show(event)
        if isinstance(event, events.OperationFinished) and not event.porcelain:
            self._command("endgroup")
        return shown

    def write(self, line: Line) -> None:
        """A heading opens a group."""
        if line.mark:
            self._stream.write(laid_out(line, unicode=self._unicode, width=70) + "\n")
            self._stream.flush()
        else:
            self._command("group", line.text)

    def _command(self, name: str, value: str = "") -> None:
        self._stream.write(f"::{name}::{value}\n")
        self._stream.flush()


def _escaped(text: str, *, title: bool = False) -> str:
    # GitHub's "Workflow commands for GitHub Actions" gives these escapes
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if title else text
