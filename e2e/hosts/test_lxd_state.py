"""Containers outlive what Terraform remembers of them."""

from __future__ import annotations

import json
import secrets
import subprocess
from typing import TYPE_CHECKING

import pytest

from e2e.support import Environment

if TYPE_CHECKING:
    from e2e.support import Site

pytestmark = [pytest.mark.lxd, pytest.mark.terraform]


def containers(environment: Environment) -> dict[str, str]:
    """The instance ids of those that carry the environment's tag, by name."""
    listed = subprocess.run(
        ["lxc", "list", f"user.deployer.id={environment.uuid}", "--format", "json"],
        capture_output=True,
        check=True,
    )
    return {one["name"]: one["config"]["volatile.uuid"] for one in json.loads(listed.stdout)}


def test_a_container_is_adopted_when_terraform_has_forgotten_it(site: Site) -> None:
    environment = Environment(site, f"t{secrets.token_hex(3)}")
    environment.site.run("create", environment.name, "--provider", "lxd")
    environment("provision")
    made = containers(environment)
    assert made.keys() == {f"{environment.name}-1"}
    state = environment.folder / "terraform" / "terraform.tfstate"

    state.unlink()
    adopted = environment("provision").data
    assert containers(environment) == made
    assert environment.record.hosts[0].instance == made[f"{environment.name}-1"]
    assert environment.record.state == "provisioned", adopted
    assert state.exists()

    # nor does forgetting keep anybody from taking it down
    state.unlink()
    uuid_was = environment.uuid
    environment("destroy", "--yes")
    assert not subprocess.run(
        ["lxc", "list", f"user.deployer.id={uuid_was}", "--format", "csv"],
        capture_output=True,
        check=True,
    ).stdout
