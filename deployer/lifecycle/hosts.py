"""The hosts of an environment: how to get in, what a playbook is told, what is seen there."""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.apps.render import Target
from deployer.environment import secrets
from deployer.errors import Code, StepError, hosts_error
from deployer.lifecycle import remote
from deployer.paths import Workspace, private_dir
from deployer.tools import process, ssh
from deployer.tools.host_code import host_code
from state.records import HostRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.lifecycle.session import Session
    from deployer.providers.hosts import HostSpec
    from state.records import EnvironmentRecord

LOCAL = "local"
REMOTE_ROOT = "/srv/deployer"
REMOTE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def root(workspace: Workspace, host: HostRecord) -> Path:
    """A host's root folder. A local one is recorded relative, so that a workspace may move."""
    return workspace.state_dir / host.root if host.connection == LOCAL else Path(host.root)


def target(workspace: Workspace, host: HostRecord) -> Target:
    """The host as an app's templates see it."""
    return Target(
        name=host.name,
        address=f"[{host.address}]" if ":" in host.address else host.address,
        bind="127.0.0.1" if host.connection == LOCAL else "0.0.0.0",  # noqa: S104 - reached from outside
        root=str(root(workspace, host)),
    )


def of(host: HostSpec, environment: str, **access: Any) -> HostRecord:
    """A host as it is recorded; `access` holds for hosts that say nothing of their own."""
    said = {"key": host.key, "jump": host.jump}
    chosen = {key: said.get(key) or value for key, value in access.items()}
    return HostRecord(
        name=host.name,
        connection="ssh",
        address=host.address,
        port=host.port,
        user=host.user,
        groups=list(host.groups),
        root=f"{REMOTE_ROOT}/{environment}",
        instance=host.id,
        access={key: value for key, value in chosen.items() if value},
    )


def spec(
    workspace: Workspace, record: EnvironmentRecord, host: HostRecord, token: int, **more: Any
) -> dict[str, Any]:
    """What deployer's module on a host needs to know; `more` is what one action wants besides."""
    there = _here(workspace, record) if host.connection == LOCAL else _there(record, host)
    return {
        "environment": record.name,
        "uuid": record.uuid,
        "host": host.name,
        "root": str(root(workspace, host)),
        "runtime": record.config["runtime"],
        "token": token,
        "health": record.config["health"],
        **there,
        **more,
    }


def _here(workspace: Workspace, record: EnvironmentRecord) -> dict[str, Any]:
    return {
        "user": None,
        "fence": str(workspace.environment_dir(record.name) / "fence"),
        "sockets": str(private_dir(record.uuid[:12])),
        "python": sys.executable,
        "supervisord": [sys.executable, "-m", "supervisor.supervisord"],
        "variables": {**process.base_environment(), "PATH": os.environ.get("PATH") or os.defpath},
    }


def _there(record: EnvironmentRecord, host: HostRecord) -> dict[str, Any]:
    volatile = f"/run/deployer/{record.name}-{record.uuid[:8]}"
    return {
        "user": f"deployer-{record.uuid[:8]}",
        "fence": f"{volatile}/fence",
        "sockets": volatile,
        "python": (host.access or {}).get("python") or "/usr/bin/python3",
        "supervisord": ["/usr/bin/supervisord"],
        "variables": {"PATH": REMOTE_PATH, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"},
    }


def login(workspace: Workspace, record: EnvironmentRecord, host: HostRecord) -> ssh.Login:
    """How to get into a host. Raises `StepError` if its sudo password can't be had."""
    access = host.access or {}
    key = access.get("key")
    reference = access.get("sudo_password")
    password = _password(json.dumps(reference), workspace.root) if reference else None
    return ssh.Login(
        name=host.name,
        address=host.address,
        port=host.port or 22,
        user=host.user or "root",
        known_hosts=workspace.known_hosts(record.name),
        control=workspace.connections(record.uuid),
        key=(workspace.root / key).expanduser() if key else None,
        jump=access.get("jump"),
        password=password,
    )


@lru_cache(16)
def _password(reference: str, base: Path) -> str:
    return secrets.resolve(json.loads(reference), "the sudo password", base)


def variables(
    workspace: Workspace,
    record: EnvironmentRecord,
    host: HostRecord,
    spec: Mapping[str, Any],
    *,
    first: bool = False,
) -> dict[str, Any]:
    """A host's variables in Ansible's inventory. `first`: learn its key if none is pinned.

    Whatever users say goes as base64, which no template engine finds anything in.
    """
    found = {
        "ansible_connection": host.connection,
        "ansible_python_interpreter": spec["python"],
        "deployer_spec": base64.b64encode(json.dumps(spec).encode()).decode(),
    }
    if host.connection == LOCAL:
        return found
    way = login(workspace, record, host)
    found |= {
        "ansible_host": _literal(way.address),
        "ansible_port": way.port,
        "ansible_user": _literal(way.user),
        "ansible_ssh_args": _literal(shlex.join(ssh.options(way, first=first))),
    }
    if not way.root:
        found["ansible_become"] = True
        if way.password is not None:
            found["ansible_become_password"] = _literal(way.password)
    return found


def _literal(text: str) -> str:
    """`text` as Ansible takes it for itself: what a template gives is no template again."""
    return "{{ '" + base64.b64encode(text.encode()).decode() + "' | b64decode }}"


def inspect(
    workspace: Workspace,
    record: EnvironmentRecord,
    *,
    check_health: bool = True,
    by: Session | None = None,
    silent: dict[str, StepError] | None = None,
    **more: Any,
) -> dict[str, dict[str, Any]]:
    """What is there on each host, as `actions.inspect` on the host tells it. Changes nothing.

    `by` is the operation that looks, if one does; `more` goes into the spec. Raises `StepError`
    naming each host that doesn't answer: no answer is not an answer. With `silent` they are put
    there instead, and those that are there already are not asked.
    """
    packages = record.inputs.get("configure", {}).get("packages", [])
    specs = {
        host.name: spec(workspace, record, host, 0, app_packages=packages, **more)
        for host in record.hosts
        if host.name not in (silent or ())
    }
    found = {
        host.name: host_code().inspect(specs[host.name], check_health=check_health)
        for host in record.hosts
        if host.connection == LOCAL and host.name in specs
    }
    found |= remote.call(
        {
            host.name: remote.Call(
                login(workspace, record, host),
                specs[host.name]["python"],
                {"action": "inspect", "spec": specs[host.name], "check_health": check_health},
            )
            for host in record.hosts
            if host.connection != LOCAL and host.name in specs
        },
        uuid=record.uuid,
        by=by,
        failed=silent,
    )
    foreign = {
        name: StepError(
            f"{specs[name]['root']} belongs to another environment ({facts['owner']})",
            code=Code.FOREIGN_ROOT,
            host=name,
            hint="Destroy that environment, or move its folder away.",
        )
        for name, facts in found.items()
        if facts["owner"] not in (None, record.uuid)
    }
    if foreign and silent is None:
        raise hosts_error(list(foreign.values()), len(found))
    if silent is not None:
        silent |= foreign
    return {
        host.name: found[host.name]
        for host in record.hosts
        if host.name in found and host.name not in foreign
    }


def forget(workspace: Workspace, record: EnvironmentRecord) -> None:
    """Remove what is kept here for the sake of its hosts."""
    shutil.rmtree(private_dir(record.uuid[:12]), ignore_errors=True)
    folder = workspace.environment_dir(record.name)
    for name in ("fence", "ssh", "terraform"):
        shutil.rmtree(folder / name, ignore_errors=True)
    workspace.known_hosts(record.name).unlink(missing_ok=True)
