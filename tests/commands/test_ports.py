"""Ports that somebody else has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.commands.conftest import Workspace


def test_a_port_in_use_names_the_process(workspace: Workspace, listener: int) -> None:
    done = workspace.refused(7, "create", "demo", "--set", f"port={listener}")

    assert f"port {listener} is in use by" in done.story
    assert f"(pid {os.getpid()})" in done.story
    assert workspace.files() == {}
    assert workspace.names() == []


def test_deploy_finds_a_port_in_use_before_it_touches_anything(
    workspace: Workspace, listener: int
) -> None:
    workspace("create", "demo")
    workspace.file("environments/demo.toml", f'app = "guestbook"\n[settings]\nport = {listener}\n')

    assert f"(pid {os.getpid()})" in workspace.refused(7, "deploy", "demo").story
    assert workspace.state() == "created"


def test_two_environments_never_get_the_same_port(workspace: Workspace) -> None:
    first = workspace("create", "one", "--output", "json").envelope
    port = first["data"]["settings"]["port"]

    done = workspace.refused(7, "create", "two", "--set", f"port={port}")

    assert f"port {port} is reserved by the environment 'one'" in done.story
    assert list(workspace.files()) == ["environments", "environments/one.toml"]
    assert workspace.names() == ["one"]
