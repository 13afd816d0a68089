"""What an environment file says of hosts of one's own, read by the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.commands.conftest import Workspace

HEAD = 'app = "guestbook"\nprovider = "ssh"\nruntime = "supervisor"\n'


def test_hosts_may_be_given_with_create(workspace: Workspace) -> None:
    options = ("--provider", "ssh", "--runtime", "supervisor")
    hosts = ("--set", "provider_options.hosts=root@127.0.0.1:2222,admin@two")

    workspace("create", "demo", *options, *hosts)

    assert workspace.state() == "created"
    workspace("validate", "demo")
    written = (workspace.root / "environments" / "demo.toml").read_text()
    assert "127.0.0.1" in written
    assert "2222" in written
    assert "two" in written


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ('hosts = ["a"]\nsudo_password = "hunter2"', "must refer to a secret"),
        ('hosts = ["a"]\nsudo_password = { value = "hunter2" }', "must refer to a secret"),
        ('hosts = ["a"]\nsudopassword = { env = "X" }', "sudo_password"),
        ('hosts = [{ adress = "a" }]', "address"),
        ("hosts = []", "at least one host"),
        ('user = "me"', "hosts"),
        ('hosts = ["a"]\nport = "ssh"', "port"),
        ('hosts = ["-oProxyCommand=x"]', "hosts[0]"),
    ],
)
def test_wrong_options_are_named_with_their_line_and_no_secret_is_repeated(
    workspace: Workspace, options: str, said: str
) -> None:
    workspace.file("environments/demo.toml", f"{HEAD}[provider_options]\n{options}\n")

    done = workspace.refused(3, "create", "demo")

    assert said in done.story
    assert "environments/demo.toml:" in done.story
    assert "hunter2" not in done.out + done.err
    assert workspace.names() == []


@pytest.mark.parametrize("verb", ["provision", "destroy"])
def test_only_a_host_that_was_taken_out_can_be_abandoned(workspace: Workspace, verb: str) -> None:
    workspace("create", "demo")

    refused = workspace(verb, "demo", "--abandon", "web-1", "--yes")

    assert refused.code == 2
    assert "web-1" in refused.err
    assert workspace.state() == "created"
