"""What an app requires and the provider doesn't offer: refused alike by all that could go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.commands.conftest import APP

if TYPE_CHECKING:
    from tests.commands.conftest import Workspace

NEEDS_DOCKER = APP.replace("python3", "docker", 1)
MISSING = "the app answer requires 'docker', which the provider local doesn't offer"
REMEDY = 'set provider = "lxd"'


def test_create_refuses_it_and_leaves_nothing(workspace: Workspace) -> None:
    workspace.app(NEEDS_DOCKER)
    before = workspace.files()

    done = workspace.refused(7, "create", "demo", "--app", "./app")

    assert MISSING in done.story
    assert REMEDY in done.story
    assert workspace.files() == before


def test_validate_plan_and_deploy_refuse_what_came_later(workspace: Workspace) -> None:
    workspace.app()
    assert workspace("create", "demo", "--app", "./app").code == 0
    workspace.app(NEEDS_DOCKER)

    for command in ("validate", "plan", "deploy"):
        done = workspace(command, "demo")

        assert done.code == 7, done.story
        assert f"environments/demo.toml:7: provider: {MISSING}" in done.story
        assert REMEDY in done.story
    assert workspace.state() == "created"


def test_another_runtime_is_named_where_the_present_one_is_what_asks(workspace: Workspace) -> None:
    workspace.file(
        "providers/plain/provider.toml",
        'name = "plain"\nversion = "1"\nkind = "static"\ncapabilities = ["python3"]\n',
    )
    workspace.app(APP.replace("requires", 'runtimes = ["systemd", "supervisor"]\nrequires', 1))
    options = ("--app", "./app", "--provider", "plain", "--runtime", "systemd")

    done = workspace.refused(7, "create", "demo", *options)

    assert "the runtime systemd requires 'systemd'" in done.story
    assert 'runtime = "supervisor"' in done.story
