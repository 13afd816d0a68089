"""Records as the engine writes them, and real processes beside this one."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from state.history import new_operation_id
from state.records import HostRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from state.records import EnvironmentRecord
    from state.store import Store

HOLDER = {"actor": "ann", "host": "here", "pid": 1, "command": "deployer"}
HOST = HostRecord("localhost", "local", "127.0.0.1", "environments/shop/host")
NOBODY = 65534


def lease(store: Store, name: str = "shop") -> int:
    return store.take_lease(name, operation_id=new_operation_id(), holder=HOLDER)


def created(store: Store, name: str = "shop", **ports: int) -> EnvironmentRecord:
    token = lease(store, name)
    with store.transaction():
        return store.create_environment(
            name,
            token=token,
            config={},
            ports=ports,
            operation_id=new_operation_id(),
            details={},
        )


def started(store: Store, record: EnvironmentRecord, verb: str, token: int) -> str:
    operation_id = new_operation_id()
    store.start_operation(record, operation_id=operation_id, verb=verb, token=token, details={})
    return operation_id


def begun(
    store: Store, record: EnvironmentRecord, verb: str, token: int, **more: Any
) -> tuple[EnvironmentRecord, str]:
    operation_id = started(store, record, verb, token)
    record = store.begin(
        record,
        verb,
        operation_id=operation_id,
        token=token,
        config={},
        intent={"of": verb},
        **more,
    )
    return record, operation_id


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that runs `code`; its output is piped."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """`folder` without write permission, for a user whom permissions stop."""
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.setresgid(NOBODY, NOBODY, 0)
        os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        if root:
            os.setresuid(0, 0, 0)
            os.setresgid(0, 0, 0)
        folder.chmod(0o755)
