"""The value gate as users meet it: `validate` and `deploy` over a workspace's files."""

from __future__ import annotations

import secrets
import subprocess
from typing import TYPE_CHECKING

from tests.commands.conftest import Workspace, free_port

if TYPE_CHECKING:
    from pathlib import Path

PLAYBOOK = """\
- hosts: all
  tasks:
    - command: curl -fsS http:/wikipedia.org/ -o page.html
    - copy: {src: a, dest: /etc/a, mode: '0900'}
"""
MODULE = 'resource "docker_network" "n" {\n  ipam_config {\n    subnet = "172.17.0.0/33"\n  }\n}\n'
MANIFEST = """\
name = "shop"

[settings.port]
type = "port"
default = 18400

[settings.home]
type = "string"

[[services]]
name = "web"
command = ["python3", "-m", "http.server", "{{ settings.port }}"]
"""


def settings(port: str, home: str) -> str:
    return f'app = "./app"\nprovider = "local"\n\n[settings]\nport = {port}\nhome = "{home}"\n'


def test_what_must_fail_is_refused_with_all_places_before_anything_is_touched(
    workspace: Workspace,
) -> None:
    name, port = f"t{secrets.token_hex(3)}", free_port()
    workspace.file("app/app.toml", MANIFEST)
    workspace.file(f"environments/{name}.toml", settings(port, "http://wikipedia.org/"))
    assert workspace("create", name).code == 0
    workspace.file("site.yml", PLAYBOOK)
    workspace.file("app/net.conf.j2", "subnet = 172.17.0.0/33\nmode = 0900\n")
    workspace.file("infrastructure/main.tf", MODULE)
    workspace.file(f"environments/{name}.toml", settings(port, "http:/wikipedia.org/"))
    # what is not of this environment, or ignored, is not judged
    workspace.file("environments/other.toml", settings(port, "http:/wikipedia.org/"))
    workspace.file(".deployerignore", "old/\n")
    workspace.file("old/site.yml", PLAYBOOK)
    before = workspace.files()

    refused = workspace("validate", name, "--output", "json")
    deployed = workspace.refused(7, "deploy", name)

    found = {(f["file"], f["line"], f["rule"]) for f in refused.error["details"]["findings"]}
    assert refused.code == 7
    assert found == {
        ("site.yml", 3, "url"),
        ("site.yml", 4, "mode"),
        ("app/net.conf.j2", 1, "cidr"),
        ("app/net.conf.j2", 2, "mode"),
        ("infrastructure/main.tf", 3, "cidr"),
        (f"environments/{name}.toml", 6, "url"),
    }
    for file, line, _ in found:
        assert f"{file}:{line}:" in deployed.story
    assert workspace.files() == before
    assert workspace.state(name) == "created"
    assert not (workspace.root / ".deployer/environments" / name / "host").exists()


def test_warnings_are_shown_and_refused_only_where_that_is_asked_for(
    workspace: Workspace,
) -> None:
    workspace.file("app/app.toml", MANIFEST)
    workspace.file("environments/demo.toml", settings("18400", "${HOME}"))
    workspace.file("vars.yml", "password: hunter2\n")

    shown = workspace("validate", "demo")
    strict = workspace.refused(7, "validate", "demo", "--fail-on", "warning")

    assert shown.code == 0
    assert "vars.yml:1:11: warning: password is in clear text" in shown.out
    assert "{{ env.HOME }}" in shown.out
    assert "demo is valid, with 2 warnings" in shown.out
    assert "hunter2" not in shown.out + strict.story


def test_what_git_ignores_is_left_alone(workspace: Workspace, tmp_path: Path) -> None:
    workspace.file("app/app.toml", MANIFEST)
    workspace.file("environments/demo.toml", settings("18400", "x"))
    workspace.file(".gitignore", "build/\n")
    workspace.file("build/site.yml", PLAYBOOK)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)

    assert workspace("validate", "demo").code == 0

    workspace.file("site.yml", PLAYBOOK)
    assert "2 things are wrong" in workspace("validate", "demo").story
