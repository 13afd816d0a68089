"""What is printed, where, and to whom."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.commands.conftest import DEPLOYER

if TYPE_CHECKING:
    from tests.commands.conftest import Workspace


@pytest.mark.parametrize("before", [True, False])
def test_json_is_one_envelope_on_success(workspace: Workspace, before: bool) -> None:
    calls = [
        ("create", "demo"),
        ("list",),
        ("show", "demo"),
        ("status", "demo"),
        ("history", "demo"),
        ("logs", "demo"),
        ("validate", "demo"),
        ("provision", "demo"),
        ("destroy", "demo", "--yes"),
        ("--version",),
    ]
    for call in calls:
        asked = ("--output", "json")
        done = workspace(*asked, *call) if before else workspace(*call, *asked)

        assert done.envelope["status"] == "success", call


def test_json_can_be_asked_for_by_the_environment(workspace: Workspace) -> None:
    done = workspace("show", "demo", variables={"DEPLOYER_OUTPUT": "json"})

    assert done.error["code"] == "ENVIRONMENT_NOT_FOUND"


def test_json_without_a_command_is_a_usage_error(workspace: Workspace) -> None:
    assert workspace("--output", "json").error["code"] == "USAGE"


@pytest.mark.parametrize("arguments", [("--help",), ("list",), ("history", "demo")], ids=" ".join)
@pytest.mark.parametrize("output", ["text", "json"])
def test_a_closed_stdout_is_no_error(
    workspace: Workspace, arguments: tuple[str, ...], output: str
) -> None:
    workspace("create", "demo")
    reading, writing = os.pipe()
    os.close(reading)  # the reader has gone before the first byte

    done = subprocess.run(
        [DEPLOYER, "-C", str(workspace.root), "--output", output, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_streams_that_were_never_open_do_no_harm(workspace: Workspace, closed: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", DEPLOYER, "create", "demo"],
        cwd=workspace.root,
        capture_output=True,
        text=True,
    )

    assert "Traceback" not in done.stderr
    assert done.returncode == 0
    assert workspace.names() == ["demo"]


@pytest.mark.parametrize("locale", ["C", "POSIX", "no_SUCH.locale"])
def test_a_poor_locale_changes_nothing(workspace: Workspace, locale: str) -> None:
    variables = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    done = workspace("create", "demo", "--set", "title=plain", variables=variables)

    assert done.code == 0, done.story
    assert "is not a name" in workspace.refused(2, "create", "é", variables=variables).story


def test_progress_as_json_is_one_object_a_line(workspace: Workspace) -> None:
    workspace("create", "demo")

    done = workspace("provision", "demo", "--progress", "json", "--output", "json")

    assert done.data["state"] == "provisioned"
    assert all(json.loads(line)["environment"] == "demo" for line in done.err.splitlines())
