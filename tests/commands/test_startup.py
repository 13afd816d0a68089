"""Quick commands import nothing heavy; the help knows every command."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from commands.registry import COMMANDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands.conftest import Workspace

HEAVY = (
    *("ansible_runner", "sqlite_utils", "pydantic", "rich"),
    *("jinja2", "transitions", "tomlkit", "psutil"),
)
LOADED = """
import json, sys
from commands.main import run
code = run(sys.argv[1:])
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


def loaded(workspace: Path, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], cwd=workspace, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("list",)], ids=" ".join)
def test_a_quick_command_imports_nothing_heavy(
    workspace: Workspace, arguments: tuple[str, ...]
) -> None:
    assert workspace("create", "demo").code == 0  # so that `list` has something to read

    assert loaded(workspace.root, *arguments).isdisjoint(HEAVY)


def test_the_help_lists_every_command(workspace: Workspace) -> None:
    done = workspace("--help")

    listed = {line.split()[0] for line in done.out.splitlines() if line.startswith("  ")}
    assert done.code == 0
    assert set(COMMANDS) <= listed


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_without_a_workspace(workspace: Workspace, command: str) -> None:
    done = workspace(command, "--help")

    assert done.code == 0
    assert done.out.startswith(f"Usage: deployer {command}")
    assert not (workspace.root / ".deployer").exists()
