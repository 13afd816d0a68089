"""`create` on a terminal asks for what was not said; nothing is written before all is answered."""

from __future__ import annotations

import signal
import subprocess
import tomllib
from functools import partial
from typing import TYPE_CHECKING

import pexpect

from tests.commands.conftest import APP, DEPLOYER

if TYPE_CHECKING:
    import pytest

    from tests.commands.conftest import Workspace

OWN = """
name = "own"
version = "1"
kind = "static"
capabilities = ["python3"]

[options.zone]
type = "string"
description = "Where to run."

[options.token]
type = "secret"
description = "What lets you in."

[options.size]
type = "integer"
default = 3
description = "How large."
"""
NEEDY = APP.replace("[[services]]", '[settings.greeting]\ntype = "string"\n[[services]]', 1)


def start(workspace: Workspace, *options: str) -> pexpect.spawn[str]:
    command = ["-C", str(workspace.root), "create", "demo", *options]
    return pexpect.spawn(
        str(DEPLOYER),
        command,
        encoding="utf-8",
        timeout=60,
        # who runs the tests in the background has it ignored, and that is inherited
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def test_the_answers_become_a_file_that_says_what_each_line_is(workspace: Workspace) -> None:
    workspace.app(NEEDY)
    workspace.file("providers/own/provider.toml", OWN)
    terminal = start(workspace)

    terminal.expect(r"Application \[\./app\]: ")
    terminal.sendline("")
    terminal.expect("Provider .*: ")
    terminal.sendline("own")
    terminal.expect("Where to run.*zone: ")
    terminal.sendline("north")
    terminal.expect("Environment variable that holds token: ")
    terminal.sendline("OWN_TOKEN")
    terminal.expect("greeting: ")
    terminal.sendline("good day")
    terminal.expect("demo is created")
    terminal.expect(pexpect.EOF)

    text = (workspace.root / "environments" / "demo.toml").read_text(encoding="utf-8")
    found = tomllib.loads(text)
    assert found["provider_options"] == {"zone": "north", "token": {"env": "OWN_TOKEN"}}
    assert found["settings"]["greeting"] == "good day"
    assert '# Where to run.\nzone = "north"' in text
    assert "# How large.\n# size = 3" in text
    assert workspace("validate", "demo").code == 0


def test_ctrl_c_at_a_question_leaves_nothing(workspace: Workspace) -> None:
    terminal = start(workspace, "--app", "guestbook")
    terminal.expect("Provider .*: ")

    terminal.sendintr()

    terminal.expect("Interrupted")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert list(workspace.root.iterdir()) == []


def test_nothing_is_asked_with_yes(workspace: Workspace) -> None:
    terminal = start(workspace, "--yes")

    terminal.expect("demo is created")
    assert "Application" not in terminal.before
    terminal.expect(pexpect.EOF)


def test_the_settings_of_an_application_in_a_repository_are_asked_for(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    repository = tmp_path_factory.mktemp("repository")
    (repository / "app.toml").write_text(NEEDY, encoding="utf-8")
    person = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    for words in (["init", "-q"], ["add", "-A"], [*person, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", "-C", str(repository), *words], check=True)

    terminal = start(workspace, "--app", f"file://{repository}", "--provider", "local")

    terminal.expect("greeting: ")
    terminal.sendline("good day")
    terminal.expect("demo is created")
    terminal.expect(pexpect.EOF)
    assert workspace("validate", "demo").code == 0
