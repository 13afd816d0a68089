"""A rehearsal: the verbs themselves, run on copies of the records, their steps only previewed.

Whatever it writes goes into a private folder that is removed at its end. The workspace, the
environment's own folder and the hosts stay as they are.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.errors import LeaseError
from deployer.events import Bus
from deployer.lifecycle.session import Session, describe
from deployer.paths import private_dir
from deployer.reading import environment, reading
from deployer.tools import process, ssh
from deployer.tools.interrupt import Interrupt
from state import backup, lease
from state.history import new_operation_id
from state.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.lifecycle.session import Call
    from deployer.paths import Workspace

LOCK_FILE = ".terraform.lock.hcl"


@contextmanager
def rehearsal(workspace: Workspace, name: str, verb: str, call: Call) -> Iterator[Session]:
    """A dry session on copies of what is recorded of `name`; takes no lease, tells nobody.

    Raises `LeaseError` while an operation changes the environment: what comes out of that can't
    be told.
    """
    record = environment(workspace, name)
    if lease.is_held(workspace.lock(name)):
        with reading(workspace) as read:
            holder = read.lease(name) if read else {}
        raise LeaseError(
            f"{name} is being changed by {describe(holder)}",
            hint="What it leaves can't be told before; wait for it.",
        )
    folder = _folder()
    try:
        copy = replace(workspace, scratch=folder)
        backup.backup(workspace.store, copy.store)
        if workspace.secrets_key.is_file():
            shutil.copy2(workspace.secrets_key, copy.secrets_key)
        _copy(workspace.environment_dir(name), copy.environment_dir(name))
        store = Store.open(copy.store)
        operation_id = new_operation_id()
        with Interrupt() as interrupt:
            session = Session(
                workspace=copy,
                store=store,
                bus=Bus(),
                interrupt=interrupt,
                name=name,
                verb=verb,
                call=call,
                operation_id=operation_id,
                correlation_id=operation_id,
                dry=True,
            )
            holder = {k: v for k, v in session.details().items() if k != "correlation_id"}
            session.token = store.take_lease(name, operation_id=operation_id, holder=holder)
            if store.open_operations(record.id):
                store.settle(record, token=session.token, operation_id=operation_id, error={})
            try:
                yield session
            finally:
                connections = copy.connections(record.uuid)
                ssh.close(connections, process.child_environment(record.uuid, None))
                shutil.rmtree(connections, ignore_errors=True)
                store.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def untouched(module: Path) -> Iterator[None]:
    """Put back what Terraform's `init` notes in a module of the user's, which runs in its place."""
    path = module / LOCK_FILE
    before = path.read_bytes() if path.is_file() else None
    try:
        yield
    finally:
        if before is None:
            path.unlink(missing_ok=True)
        elif path.read_bytes() != before:
            path.write_bytes(before)


def _folder() -> Path:
    """A private folder; those of rehearsals that were killed are removed."""
    import psutil

    base = private_dir("plan")
    for old in base.iterdir():
        pid = old.name.partition("-")[0]
        if not (pid.isdigit() and psutil.pid_exists(int(pid))):
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=base))


def _copy(source: Path, target: Path) -> None:
    """Copy pins, keys and Terraform's files; plugins, which are large, as links."""
    target.mkdir(mode=0o700, parents=True)
    if (source / "known_hosts").is_file():
        shutil.copy2(source / "known_hosts", target / "known_hosts")
    plugins = source / "terraform" / "data" / "providers"

    def ignored(folder: str, names: list[str]) -> list[str]:
        return ["providers"] if Path(folder) == plugins.parent else []

    for part in ("ssh", "terraform"):
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, symlinks=True, ignore=ignored)
    for plugin in plugins.glob("*/*/*/*/*"):  # host, namespace, type, version, platform
        link = target / plugin.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(plugin.resolve())
