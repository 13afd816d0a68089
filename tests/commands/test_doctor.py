"""`doctor`: what this machine has, with programs of the test's own in front of the real ones."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands.conftest import Done, Workspace


def program(folder: Path, name: str, says: str) -> str:
    """A program that prints a version; returns a PATH with it in front."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n", encoding="utf-8")
    path.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def tool(done: Done, name: str) -> dict[str, Any]:
    return {one["name"]: one for one in done_data(done)["tools"]}[name]


def done_data(done: Done) -> dict[str, Any]:
    return dict(json.loads(done.out)["data"])


def test_what_local_needs_is_here_with_its_versions(workspace: Workspace) -> None:
    done = workspace("doctor", "--output", "json")

    assert done.code == 0, done.err
    assert done_data(done)["healthy"] is True
    for name in ("python", "ansible", "supervisor"):
        assert tool(done, name)["version"]
        assert tool(done, name)["needed_for_local"]
    assert not (workspace.root / ".deployer").exists()


def test_a_program_that_is_too_old_is_told_with_the_version_that_is_needed(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = program(tmp_path / "bin", "git", "git version 1.8.3.1")

    done = workspace("doctor", variables={"PATH": path})

    assert done.code == 0  # nothing here needs it
    assert "git: 1.8.3.1 is too old; 2.25 is needed" in done.out


def test_an_environment_that_lacks_its_programs_is_named(workspace: Workspace) -> None:
    lacking = {"DEPLOYER_TERRAFORM": "there-is-none"}
    workspace.file("environments/cloud.toml", 'app = "guestbook"\nprovider = "lxd"\n')
    assert workspace("create", "cloud").code == 0

    done = workspace("doctor", "--output", "json", variables=lacking)

    assert done.code == 8
    assert "terraform or tofu" in done_data(done)["environments"]["cloud"]
    assert "DEPLOYER_TERRAFORM names 'there-is-none'" in tool(done, "terraform or tofu")["fix"]
