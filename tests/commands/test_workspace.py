"""Workspaces that can't be used, and surroundings that are out of the ordinary."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.commands.conftest import Workspace, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True
    )
    if done.returncode:
        pytest.skip("a disk of its own takes the right to mount: run the tests as root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_read_only_disk_is_told(tmp_path: Path) -> None:
    with small_disk(tmp_path, "4m"):
        workspace = Workspace(tmp_path)
        workspace("create", "demo")
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        before = workspace.files()

        for command in ("create", "other"), ("deploy", "demo"), ("destroy", "demo", "--yes"):
            assert str(tmp_path) in workspace.refused(9, *command).story
        assert workspace.files() == before
        assert workspace.names() == ["demo"]


def test_a_read_only_disk_without_a_store_is_told(tmp_path: Path) -> None:
    with small_disk(tmp_path, "4m"):
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        workspace = Workspace(tmp_path)

        assert "Read-only file system" in workspace.refused(9, "create", "demo").story
        assert workspace.names() == []


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path, "1m"):
        workspace = Workspace(tmp_path)
        workspace("create", "demo")
        filler = tmp_path / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"x" * 4096)

        for command in ("create", "other"), ("provision", "demo"):
            workspace.refused(9, *command)
        filler.unlink()

        assert workspace.names() == ["demo"]
        assert list(workspace.files()) == ["environments", "environments/demo.toml"]
        assert workspace("provision", "demo").code == 0


def test_a_store_of_a_newer_version_is_refused_and_left_alone(workspace: Workspace) -> None:
    workspace("create", "demo")
    store = workspace.root / ".deployer" / "state.db"
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA user_version = 9999")
    before = workspace.files()

    for command in ("list",), ("show", "demo"), ("create", "other"), ("deploy", "demo"):
        assert "newer version" in workspace.refused(9, *command).story
    assert workspace.files() == before


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b"SQLite format 3\0x"])
def test_a_damaged_store_is_told_and_left_alone(workspace: Workspace, content: bytes) -> None:
    store = workspace.file(".deployer/state.db", content)

    for command in ("list",), ("create", "demo"), ("show", "demo"):
        workspace.refused(9, *command)
    assert store.read_bytes() == content
    assert workspace.files() == {}


@pytest.mark.parametrize("in_the_way", [".deployer", ".deployer/environments", "environments"])
def test_what_is_in_the_way_is_named_and_left_alone(workspace: Workspace, in_the_way: str) -> None:
    path = workspace.file(in_the_way, "mine")

    assert path.name in workspace.refused(9, "create", "demo").story
    assert not (workspace.root / "environments" / "demo.toml").exists()
    assert path.read_text() == "mine"


def test_a_state_folder_that_links_to_itself_is_told(workspace: Workspace) -> None:
    (workspace.root / ".deployer").symlink_to(".deployer")

    for command in ("create", "demo"), ("list",):
        assert ".deployer is not a folder" in workspace.refused(9, *command).story


def test_a_workspace_that_is_not_there_is_told(workspace: Workspace) -> None:
    done = workspace("-C", str(workspace.root / "gone"), "list", named=False)

    assert done.code == 9
    assert "mkdir -p" in done.story


def test_shared_settings_that_are_wrong_are_named(workspace: Workspace) -> None:
    workspace.file("deployer.toml", 'app = "guestbook"\n[settings]\ntitel = "x"\n')

    done = workspace.refused(3, "create", "demo")

    assert "deployer.toml:3: settings.titel" in done.story
    assert list(workspace.files()) == ["deployer.toml"]


def test_packages_of_the_same_names_are_not_imported(workspace: Workspace) -> None:
    for package in ("state", "commands", "deployer", "supervisor", "ansible", "json"):
        workspace.file(f"{package}/__init__.py", f"raise SystemExit('{package} of the folder')")

    wish = ("--set", f"port={free_port()}")
    assert workspace("create", "demo", *wish, named=False).code == 0
    done = workspace("deploy", "demo", "--output", "json", named=False)

    assert done.data["state"] == "running"


def test_without_home_all_goes_on(workspace: Workspace) -> None:
    wish = ("--set", f"port={free_port()}")
    assert workspace("create", "demo", *wish, without=("HOME",)).code == 0
    done = workspace("deploy", "demo", "--output", "json", without=("HOME",))

    assert done.data["state"] == "running"


@pytest.mark.parametrize("umask", [0o077, 0o000], ids=oct)
def test_the_umask_changes_no_mode(workspace: Workspace, umask: int) -> None:
    wish = ("--set", f"port={free_port()}")
    assert workspace("create", "demo", *wish, umask=umask).code == 0
    done = workspace("deploy", "demo", "--output", "json", umask=umask)

    assert done.data["state"] == "running"
    state_dir = workspace.root / ".deployer"
    modes = {
        path: stat.S_IMODE(path.lstat().st_mode)
        for path in workspace.root.rglob("*")
        if not path.is_symlink()
    }
    assert modes[state_dir] == 0o700
    for path in state_dir.glob("state.db*"):
        assert modes[path] == 0o600
    for path, mode in modes.items():
        assert not mode & 0o022, f"{path} can be written by others: {mode:o}"
    released = state_dir / "environments/demo/host/releases/1/web.py"
    assert modes[released] == 0o644
    assert os.access(released, os.R_OK)
