"""Names of environments, apps, providers and runtimes, and the command line itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.commands.conftest import Workspace

NAMED = (
    *("create", "provision", "configure", "release", "run", "stop", "clear", "destroy", "deploy"),
    *("show", "status", "history", "logs", "validate"),
)
BAD = ("a/b", "..", "../x", "a b", "Abc", "a" * 200, "", "é", "a\n", "-x", "1a", "a_b", "*", "'")


@pytest.mark.parametrize("command", NAMED)
def test_a_missing_name_is_a_usage_error(workspace: Workspace, command: str) -> None:
    done = workspace.refused(2, command)

    assert "ENV" in done.story
    assert f"deployer {command} --help" in done.story
    assert workspace.files() == {}


@pytest.mark.parametrize("command", [name for name in NAMED if name != "logs"])
def test_several_names_are_a_usage_error(workspace: Workspace, command: str) -> None:
    assert "(other)" in workspace.refused(2, command, "demo", "other").story
    assert not (workspace.root / ".deployer").exists()


@pytest.mark.parametrize("name", BAD, ids=lambda name: repr(name[:12]))
def test_a_bad_name_is_refused_with_the_rule(workspace: Workspace, name: str) -> None:
    done = workspace.refused(2, "create", "--", name)

    assert "is not a name" in done.story
    assert "lower-case letter" in done.story
    assert len(done.story) < 300
    assert workspace.files() == {}
    assert not (workspace.root / ".deployer").exists()


@pytest.mark.parametrize("command", [name for name in NAMED if name != "create"])
def test_a_bad_name_is_refused_by_every_command(workspace: Workspace, command: str) -> None:
    done = workspace.refused(2, command, "../x", *(["--yes"] if command == "destroy" else []))

    assert "is not a name" in done.story
    assert not (workspace.root / ".deployer").exists()


def test_a_leading_dash_is_taken_for_an_option(workspace: Workspace) -> None:
    assert "-x" in workspace.refused(2, "create", "-x").story


@pytest.mark.parametrize("command", [c for c in NAMED if c not in ("create", "validate")])
def test_an_environment_that_is_not_there_names_create(workspace: Workspace, command: str) -> None:
    done = workspace.refused(4, command, "demo", *(["--yes"] if command == "destroy" else []))

    assert "deployer create demo" in done.story
    assert not (workspace.root / ".deployer").exists()


def test_a_misspelt_command_is_suggested(workspace: Workspace) -> None:
    assert "did you mean 'deploy'" in workspace.refused(2, "deplyo", "demo").story


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [("--provider", "locl", "local"), ("--runtime", "supervisr", "supervisor")],
)
def test_an_unknown_choice_names_its_option_and_the_nearest(
    workspace: Workspace, option: str, value: str, known: str
) -> None:
    done = workspace.refused(3, "create", "demo", option, value)

    assert f"{option}: there is no" in done.story
    assert f"did you mean '{known}'?" in done.story
    assert workspace.files() == {}
    assert workspace.names() == []


def test_an_unknown_app_names_the_nearest(workspace: Workspace) -> None:
    assert (
        "did you mean 'guestbook'?"
        in workspace.refused(3, "create", "demo", "--app", "guestbok").story
    )
    assert workspace.files() == {}


def test_an_app_folder_must_be_there_and_have_a_manifest(workspace: Workspace) -> None:
    assert "there is no folder" in workspace.refused(3, "create", "demo", "--app", "./app").story

    (workspace.root / "app").mkdir()
    assert "has no app.toml" in workspace.refused(3, "create", "demo", "--app", "./app").story
    assert workspace.files() == {"app": "/"}


@pytest.mark.parametrize(
    "path", ["./a\\u0000b", "./" + "x" * 300, "x/" * 3000, "/", "../.."], ids=lambda p: p[:8]
)
def test_an_impossible_app_folder_is_refused(workspace: Workspace, path: str) -> None:
    workspace.file("environments/demo.toml", f'app = "{path}"\n')

    done = workspace.refused(3, "create", "demo")

    assert "environments/demo.toml:1: app:" in done.story
    assert len(done.story) < 400


def test_an_app_folder_that_links_to_itself_is_refused(workspace: Workspace) -> None:
    (workspace.root / "app").symlink_to("app")
    workspace.file("environments/demo.toml", 'app = "./app"\n')

    workspace.refused(3, "create", "demo")


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "demo", "--lock-wait", "nan"),
        ("create", "demo", "--lock-wait", "inf"),
        ("create", "demo", "--lock-wait", "-1"),
        ("create", "demo", "--lock-wait", "soon"),
        ("create", "demo", "--nope"),
        ("create", "demo", "--set"),
        ("history", "demo", "-n", "0"),
        ("logs", "demo", "-n", "-1"),
        ("list", "extra"),
        ("--progress", "fancy", "list"),
    ],
    ids=" ".join,
)
def test_an_impossible_option_is_a_usage_error(
    workspace: Workspace, arguments: tuple[str, ...]
) -> None:
    workspace.refused(2, *arguments)

    assert not (workspace.root / ".deployer").exists()


def test_an_argument_that_is_not_utf8_is_a_usage_error(workspace: Workspace) -> None:
    for arguments in (("--set", "title=\udcff"), ("--app", "./\udcff"), ("--from", "\udcff")):
        assert "is not UTF-8" in workspace.refused(2, "create", "demo", *arguments).story
    assert not (workspace.root / ".deployer").exists()


def test_destroy_without_a_terminal_wants_yes(workspace: Workspace) -> None:
    workspace("create", "demo")

    done = workspace.refused(2, "destroy", "demo")

    assert "deployer destroy demo --yes" in done.story
    assert workspace.names() == ["demo"]
