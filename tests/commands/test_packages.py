"""Debian packages that an app needs: who may have them, and what this machine lacks."""

from __future__ import annotations

import importlib
import shutil
from typing import TYPE_CHECKING

import pytest

from deployer.lifecycle import hosts
from tests.commands.conftest import APP

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands.conftest import Workspace

ABSENT = "deployer-test-no-such-package"


def needing(*packages: str) -> str:
    return APP.replace("[settings.port]", f"packages = {[*packages]}\n[settings.port]", 1)


def test_a_provider_without_apt_is_refused(workspace: Workspace) -> None:
    workspace.app(needing("caddy"))
    workspace.file(
        "providers/bare/provider.toml",
        'name = "bare"\nversion = "1"\nkind = "static"\ndescription = "No Debian."\n'
        'capabilities = ["python3"]\n[options.hosts]\ntype = "hosts"\n',
    )
    workspace.file(
        "environments/demo.toml",
        'app = "./app"\nprovider = "bare"\n[provider_options]\nhosts = ["192.0.2.1"]\n',
    )

    done = workspace.refused(7, "create", "demo")

    assert "packages in app/app.toml requires 'apt', which the provider bare doesn't offer" in (
        done.story
    )


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="this machine is no Debian")
def test_here_packages_must_be_there_and_others_make_it_configure_again(
    workspace: Workspace,
) -> None:
    workspace.app(needing("dpkg"))
    workspace("create", "demo", "--app", "./app")
    workspace("provision", "demo")
    assert workspace("configure", "demo").code == 0
    assert workspace("check", "demo").code == 0

    workspace.app(needing("dpkg", ABSENT))

    assert "the input of configure has changed" in workspace("check", "demo").out
    for command in ("configure", "deploy"):
        refused = workspace.refused(7, command, "demo")
        assert f"answer needs packages that this machine lacks: {ABSENT}" in refused.story
        assert f"apt-get install --no-install-recommends {ABSENT}" in refused.story
    assert workspace.state() == "configured"


@pytest.mark.parametrize("already", [False, True])
def test_what_an_installation_that_was_killed_has_left_is_removed_and_what_was_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, already: bool
) -> None:
    hosts.host_code()
    packages = importlib.import_module("deployer_host.packages")
    policy, wants = tmp_path / "policy-rc.d", tmp_path / "system" / "multi-user.target.wants"
    monkeypatch.setattr(packages, "POLICY", str(policy))
    monkeypatch.setattr(packages, "FOLDER", str(tmp_path / "system"))
    (tmp_path / "runtime").mkdir()
    wants.mkdir(parents=True)
    (wants / "old.service").symlink_to("/lib/systemd/system/old.service")
    if already:
        policy.write_text(packages.OURS)
    spec = {"root": str(tmp_path)}

    packages.before(spec)
    policy.write_text(packages.OURS)
    (wants / "new.service").symlink_to("/lib/systemd/system/new.service")
    packages.before(spec)  # the next operation's, which goes by the first one's note

    assert packages.settle(spec)
    assert [link.name for link in wants.iterdir()] == ["old.service"]
    assert policy.exists() == already
    assert not packages.settle(spec)
