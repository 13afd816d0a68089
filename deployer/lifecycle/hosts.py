"""The hosts of an environment: what a playbook is told of each, and what is seen there."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shutil
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.apps.render import Target
from deployer.errors import Code, StepError
from deployer.paths import TEMPLATES, Workspace, private_dir
from deployer.tools import process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from state.records import EnvironmentRecord, HostRecord

LOCAL = "local"


def root(workspace: Workspace, host: HostRecord) -> Path:
    """A host's root folder. A local one is recorded relative, so that a workspace may move."""
    return workspace.state_dir / host.root if host.connection == LOCAL else Path(host.root)


def target(workspace: Workspace, host: HostRecord) -> Target:
    """The host as an app's templates see it."""
    return Target(
        name=host.name,
        address=host.address,
        bind="127.0.0.1" if host.connection == LOCAL else "0.0.0.0",  # noqa: S104 - reached from outside
        root=str(root(workspace, host)),
    )


def spec(
    workspace: Workspace, record: EnvironmentRecord, host: HostRecord, token: int, **more: Any
) -> dict[str, Any]:
    """What deployer's module on a host needs to know; `more` is what one action wants besides."""
    return {
        "environment": record.name,
        "uuid": record.uuid,
        "host": host.name,
        "root": str(root(workspace, host)),
        "token": token,
        "fence": str(workspace.environment_dir(record.name) / "fence"),
        "sockets": str(private_dir(record.uuid[:12])),
        "python": sys.executable,
        "supervisord": [sys.executable, "-m", "supervisor.supervisord"],
        "variables": {**process.base_environment(), "PATH": os.environ.get("PATH") or os.defpath},
        **more,
    }


def variables(host: HostRecord, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A host's variables in Ansible's inventory.

    The spec goes as base64, which no template engine finds anything in.
    """
    return {
        "ansible_connection": host.connection,
        "ansible_python_interpreter": sys.executable,
        "deployer_spec": base64.b64encode(json.dumps(spec).encode()).decode(),
    }


@lru_cache(1)
def host_code() -> ModuleType:
    """The package that runs on hosts, imported here to look at a local one."""
    folder = TEMPLATES / "ansible" / "module_utils" / "deployer_host"
    found = importlib.util.spec_from_file_location(
        "deployer_host", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert found and found.loader
    module = importlib.util.module_from_spec(found)
    sys.modules["deployer_host"] = module
    found.loader.exec_module(module)
    return importlib.import_module("deployer_host.actions")


def inspect(
    workspace: Workspace, record: EnvironmentRecord, *, check_health: bool = True
) -> dict[str, dict[str, Any]]:
    """What is there on each host, as `actions.inspect` on the host tells it. Changes nothing.

    Raises `StepError` if a host doesn't answer: no answer is not an answer.
    """
    found = {}
    for host in record.hosts:
        seen = host_code().inspect(spec(workspace, record, host, 0), check_health=check_health)
        if seen["owner"] not in (None, record.uuid):
            raise StepError(
                f"{root(workspace, host)} belongs to another environment ({seen['owner']})",
                code=Code.FOREIGN_ROOT,
                host=host.name,
                hint="Move that folder away.",
            )
        found[host.name] = seen
    return found


def forget(workspace: Workspace, record: EnvironmentRecord) -> None:
    """Remove what is kept here for the sake of its hosts."""
    shutil.rmtree(private_dir(record.uuid[:12]), ignore_errors=True)
    shutil.rmtree(workspace.environment_dir(record.name) / "fence", ignore_errors=True)
