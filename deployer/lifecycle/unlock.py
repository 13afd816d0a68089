"""unlock: who holds the lease, and its end where the holder is dead or is to be ended."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.errors import LeaseError
from deployer.lifecycle.session import describe
from state import lease

if TYPE_CHECKING:
    from deployer.paths import Workspace
    from state.store import Store

PATIENCE = 30.0  # seconds that the holder gets to end by itself, its tools included


@dataclass(frozen=True)
class Holder:
    """The last holder of a lease. `alive`: it holds it now."""

    row: dict[str, Any]
    alive: bool

    def __str__(self) -> str:
        return describe(self.row)


def holder(workspace: Workspace, store: Store | None, name: str) -> Holder | None:
    """Who holds the lease of `name`, or held it last; None if nobody ever did."""
    row = store.lease(name) if store else {}
    return Holder(row, lease.is_held(workspace.lock(name))) if row else None


def end(workspace: Workspace, found: Holder, name: str) -> None:
    """End the operation that holds the lease: SIGTERM, and SIGKILL if it doesn't obey in time.

    Raises `LeaseError` if its process is not on this machine or can't be ended from here.
    """
    pid = int(found.row["pid"])
    path = workspace.lock(name)
    if found.row["host"] != socket.gethostname() or pid not in _holders(path):
        raise LeaseError(
            f"{found} can't be ended from here",
            hint=f"End it on {found.row['host']}, then run the command again.",
        )
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        except PermissionError:
            raise LeaseError(
                f"{found} belongs to another user", hint="Ask them, or call this as root."
            ) from None
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            if pid not in _holders(path):
                return
            time.sleep(0.1)
    raise LeaseError(f"{found} doesn't end")


def _holders(path: Path) -> set[int]:
    """Processes that have the lock file open: a pid in a row may be somebody else's by now."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            if any(_is_same(fd, path) for fd in folder.iterdir()):
                found.add(int(folder.parent.name))
        except OSError:
            continue  # it ended meanwhile, or belongs to somebody else
    return found


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
