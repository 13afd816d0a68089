"""The lease: the exclusive right to change an environment.

An `flock` decides, because the kernel frees it when its holder dies, whatever the clock does. The
row beside it says who holds it, and carries the fencing token.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from state.errors import LockedError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NETWORK_FILE_SYSTEMS = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "9p", "davfs"),
    *("fuse.sshfs", "fuse.glusterfs"),
}
POLL = 0.1  # seconds between two tries while waiting
GRACE = 0.3  # seconds: a reader may hold the lock for an instant to see whether it is held


class Lock:
    """A held `flock`; `release` frees it, as does the end of this process."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self._path = path

    def release(self, *, remove: bool = False) -> None:
        """Free the lock; `remove` deletes its file first, while nobody else can hold it."""
        if remove:
            self._path.unlink(missing_ok=True)
            with suppress(OSError):  # its logs may stay, or somebody may be opening a new lock
                self._path.parent.rmdir()
        os.close(self._fd)


def acquire(
    path: Path,
    *,
    holder: Callable[[], dict[str, object]],
    wait: float = 0.0,
    on_wait: Callable[[dict[str, object], float], None] | None = None,
) -> Lock:
    """Lock `path`, creating it, within `wait` seconds.

    `holder` reads who holds it, for the error and for `on_wait(holder, seconds waited)`, which is
    called at each try. Raises `LockedError`, or `StoreError` on a network file system.
    """
    started = time.monotonic()
    while True:
        for folder in (path.parent.parent, path.parent):  # `parents` would go by the umask
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_network_file_system(path.parent)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # the last holder removed the folder just now
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            waited = time.monotonic() - started
            if waited >= max(wait, GRACE):
                raise LockedError(path.parent.name, holder()) from None
            if on_wait:
                on_wait(holder(), waited)
            time.sleep(POLL)
            continue
        if _is_still(fd, path):
            return Lock(fd, path)
        os.close(fd)  # a destroy removed the file after we opened it


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock; never takes it from anybody, creates nothing."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # shared, so that two readers never take each other for a holder
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _is_still(fd: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def refuse_network_file_system(folder: Path) -> None:
    """Raise `StoreError` where locks are not to be trusted: on a network file system."""
    kind = _file_system(folder)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"{folder} is on a network file system ({kind}), where locks can't be trusted",
            "Set DEPLOYER_STATE_DIR to a folder on a local disk.",
        )


def _file_system(folder: Path) -> str:
    """The file system type of `folder` as Linux names it; empty where that can't be told."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:  # noqa: PTH123
            mounts = [line.split() for line in lines]
    except OSError:
        return ""
    resolved = str(folder.resolve()).rstrip("/") + "/"
    best, kind = "", ""
    for fields in mounts:
        # mountinfo writes blanks in paths as octal escapes
        point = re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), fields[4]).rstrip("/") + "/"
        if resolved.startswith(point) and len(point) >= len(best):
            best, kind = point, fields[fields.index("-") + 1]
    return kind
