"""Secrets on a machine of its own: systemd's services get them, and nothing else has them."""

from __future__ import annotations

import pytest

from e2e.leaks import Watch, in_container, keeper, run_in, seen
from e2e.support import fetch

pytestmark = [pytest.mark.lxd, pytest.mark.terraform]


def test_a_container_keeps_secrets_in_the_services_own_file_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with keeper(monkeypatch) as kept:
        environment = kept.create("--provider", "lxd", "--set", "provider_options.count=1")
        name = f"{environment.name}-1"
        with Watch(kept) as watch:
            said = environment("deploy", "--verbose", "--progress", "json")
        root = f"/srv/deployer/{environment.name}"
        file = f"{root}/shared/.secrets/web.env"
        places = [root, "/etc", "/var/log", "/var/lib", "/run", "/tmp", "/root"]

        there = in_container(name, kept.needles(), *places)
        journal = run_in(name, "journalctl", "--no-pager", "--output", "export")
        rights = run_in(name, "stat", "--format", "%a %U", file, f"{root}/shared/.secrets")
        page = seen(fetch(environment.shown["urls"][0]))

        user = f"deployer-{environment.uuid[:8]}"
        address = environment.record.hosts[0].address
        assert page == kept.wanted(address)
        assert there == [file]
        assert rights.split() == ["600", user, "700", user]
        assert not kept.said(journal)
        assert not kept.said(said.stdout + said.stderr)
        # Terraform's files, its state among them, are in the workspace
        assert kept.left_here() == []
        assert watch.looks > 10
        assert not watch.found
