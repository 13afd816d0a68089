"""Records what the examples of the documentation really print.

A page's examples are one session: its files (a name in backticks on a line of its own, then a
code block) are written to an empty workspace, then the `$` lines between `<!-- transcript -->`
and `<!-- end -->` are run in order. `python docs/transcripts.py [PAGE...]` writes their output
into the page; tests run them again and compare.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
SHOWN = "/home/you/shop"
TRANSCRIPT = re.compile(
    r"(?<=<!-- transcript -->\n```console\n)(.*?)(?=```\n<!-- end -->)", re.DOTALL
)
FILE = re.compile(r"^`([\w./-]+)`\n\n```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND_TIMEOUT = 120  # seconds


def pages() -> list[Path]:
    """Every page with a transcript."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [page for page in found if TRANSCRIPT.search(page.read_text(encoding="utf-8"))]


def files(text: str) -> dict[str, str]:
    """The files that a page spells out, by path."""
    return dict(FILE.findall(text))


@contextmanager
def session(text: str, workspace: Path, port: int | None = None) -> Iterator[str]:
    """Run a page's commands in `workspace`; give the page with what they print.

    With `port` the app's port is that one; without, `create` chooses it. Whatever is deployed
    is destroyed when the block ends. Raises `AssertionError` where a command fails.
    """
    if port:
        (workspace / "deployer.toml").write_text(f"settings.port = {port}\n", encoding="utf-8")
    for path, content in files(text).items():
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace / path).write_text(content, encoding="utf-8")
    try:
        yield TRANSCRIPT.sub(lambda found: _recorded(found[1], workspace), text)
    finally:
        listed = json.loads(run("deployer list --output json", workspace))
        for environment in listed["data"]["environments"]:
            run(f"deployer destroy {environment['name']} --yes", workspace)


def run(command: str, workspace: Path) -> str:
    """Run a shell command as a reader would, and return what it prints."""
    names = [name for name in os.environ if not name.startswith(("DEPLOYER_", "GITHUB_"))]
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=workspace,
        env={
            **{name: os.environ[name] for name in names},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "80",
            "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8",
            "PYTHONSAFEPATH": "1",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_TIMEOUT,
    )
    if done.returncode:
        raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def _recorded(transcript: str, workspace: Path) -> str:
    lines = [line for line in transcript.splitlines() if line.startswith("$ ")]
    parts = []
    for line in lines:
        said = run(line[2:], workspace).strip("\n")
        said = said.replace(str(workspace.resolve()), SHOWN)
        said = re.sub(rf"\bby {re.escape(getpass.getuser())}\b", "by you", said)
        parts.append(f"{line}\n{said}\n" if said else f"{line}\n")
    return "".join(parts)


def comparable(text: str) -> str:
    """A page without what differs from run to run: times, pids, ports, ids, waits, retries."""
    text = "\n".join(line for line in text.splitlines() if "still waiting" not in line)
    # a service that fails is started as often as a loaded machine has time for
    text = re.sub(r"^(  \| .*\n)\1+", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}", "MOMENT", text)
    text = re.sub(r"\d{8}T\d{9}-[0-9a-f]{8}", "OPERATION", text)
    text = re.sub(r"[ ]*\(?\b(\d+m )?\d+(\.\d+)?s\b\)?", "", text)
    text = re.sub(r"\d{3,}", "NUMBER", text)
    return re.sub(r"[ \t-]+", " ", text)


def main(chosen: list[str]) -> None:
    """Record the transcripts of the chosen pages, or of all."""
    for page in [Path(name).resolve() for name in chosen] or pages():
        text = page.read_text(encoding="utf-8")
        with (
            tempfile.TemporaryDirectory() as folder,
            session(text, Path(folder).resolve()) as recorded,
        ):
            page.write_text(recorded, encoding="utf-8")
        print(f"{page.relative_to(ROOT)} is recorded")


if __name__ == "__main__":
    main(sys.argv[1:])
