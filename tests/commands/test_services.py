"""Services that don't come up, and what reaches those that do."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from tests.commands.conftest import DEPLOYER, SERVICE, Workspace, free_port

if TYPE_CHECKING:
    from pathlib import Path

EXITS = "print('no such table: visitors', flush=True)\nraise SystemExit(3)\n"
SICK = SERVICE.replace("send_response(200)", "send_response(503)").replace(
    "http.server.Thr", "print('still migrating', flush=True)\nhttp.server.Thr"
)
VALUES = (
    'it\'s "quoted" `x` $HOME ${HOME} %(here)s %s 100% \\ \\n ; # <&> ü ✓ 😀 {{ settings.port }}'
    " {% raw %} line one\nline two\ttab"
)


@pytest.mark.parametrize(("service", "said"), [(EXITS, "visitors"), (SICK, "migrating")])
def test_a_broken_service_is_told_and_can_be_continued(
    workspace: Workspace, service: str, said: str
) -> None:
    workspace.app(service=service)
    wish = ("--app", "./app", "--set", "health.timeout=2", "--set", f"port={free_port()}")
    assert workspace("create", "demo", *wish).code == 0

    text = workspace("deploy", "demo")
    shown = workspace("deploy", "demo", "--output", "json")

    assert (text.code, shown.code) == (40, 40)
    assert workspace.state() == "run_failed"
    assert said in text.story
    assert said in "\n".join(shown.error["details"]["output"])
    assert text.out == ""

    # as printed, once it is mended
    workspace.file("app/web.py", SERVICE)
    printed = text.err.rpartition("To continue: ")[2].splitlines()[0]
    words = shlex.split(printed)
    assert words[0] == "deployer"
    assert shown.error["resume"] == printed
    done = subprocess.run([DEPLOYER, *words[1:]], cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert workspace.state() == "running"


def test_a_value_reaches_the_service_unharmed(workspace: Workspace) -> None:
    workspace.app()
    quoted = json.dumps(VALUES.replace("{{", "{{ '{{' }}").replace("{%", "{{ '{%' }}"))
    workspace.file(
        "environments/demo.toml",
        f'app = "./app"\n[settings]\nport = {free_port()}\nword = {quoted}\n',
    )
    assert workspace("create", "demo").code == 0

    deployed = workspace("deploy", "demo", "--output", "json").data

    with urlopen(deployed["urls"][0], timeout=10) as answer:
        assert json.load(answer)["WORD"] == VALUES


@pytest.mark.parametrize(
    ("command", "first"),
    [("configure", "provision"), ("release", "provision"), ("run", "provision")],
)
def test_a_command_in_the_wrong_state_names_the_one_to_run(
    workspace: Workspace, command: str, first: str
) -> None:
    workspace("create", "demo")

    done = workspace.refused(5, command, "demo")

    assert f"{command} is not allowed while demo is created" in done.story
    assert f"Run first: deployer {first} demo" in done.story
    assert workspace.state() == "created"


def test_a_hard_workspace_deploys_stops_and_is_destroyed(tmp_path: Path) -> None:
    root = tmp_path / ("long" * 38) / 'it\'s a "wörk" 100% #1; {{ x }} ✓'
    root.mkdir(parents=True)
    assert len(str(root)) > 150
    workspace = Workspace(root)
    try:
        wish = ("--set", f"port={free_port()}")
        created = workspace("create", "demo", *wish, "--output", "json", named=False)
        assert created.code == 0, created.out
        deployed = workspace("deploy", "demo", "--output", "json", named=False)
        assert deployed.code == 0, deployed.out
        with urlopen(deployed.data["urls"][0], timeout=10) as answer:
            assert answer.status == 200
        again = workspace("deploy", "demo", "--output", "json").data
        assert again["verbs"] == []
        assert workspace("logs", "demo", "--output", "json").envelope
        assert workspace("stop", "demo", "--output", "json").data["serving"] == []
    finally:
        done = workspace("destroy", "demo", "--yes", "--output", "json")
    assert done.data["state"] == "destroyed"
    assert not (root / ".deployer/environments/demo/host").exists()
