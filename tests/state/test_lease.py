"""The lease: one holder at a time, and free at once when its holder dies."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from state import lease
from state.errors import LockedError, StoreError
from tests.state.store_helpers import python

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

HOLDING = """
import sys
from pathlib import Path
from state import lease
lock = lease.acquire(Path(sys.argv[1]), holder=dict)
print("held", flush=True)
sys.stdin.readline()
lock.release()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "environments" / "shop" / "lock"


def _holder(path: Path) -> subprocess.Popen[str]:
    process = python(HOLDING, path)
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=30)


def test_a_second_process_is_told_who_holds_it(path: Path) -> None:
    process = _holder(path)

    with pytest.raises(LockedError) as refused:
        lease.acquire(path, holder=lambda: {"actor": "ann"})

    _end(process)
    assert (refused.value.name, refused.value.holder) == ("shop", {"actor": "ann"})


def test_waiting_ends_when_the_holder_is_done(path: Path) -> None:
    process = _holder(path)
    told: list[float] = []

    def on_wait(_holder: dict[str, object], waited: float) -> None:
        if not told:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        told.append(waited)

    lock = lease.acquire(path, holder=dict, wait=30.0, on_wait=on_wait)

    assert told
    lock.release()
    process.communicate(timeout=30)


def test_a_killed_holder_frees_it_at_once(path: Path) -> None:
    process = _holder(path)
    assert lease.is_held(path)
    process.kill()
    process.communicate(timeout=30)

    lease.acquire(path, holder=dict, wait=0.0).release()


def test_a_child_of_the_holder_does_not_inherit_it(path: Path) -> None:
    code = HOLDING.replace(
        'print("held"',
        'import subprocess; child = subprocess.Popen(["sleep", "60"], close_fds=False,'
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        'print("held", child.pid',
    )
    process = python(code, path)
    assert process.stdout
    word, pid = process.stdout.readline().split()
    assert word == "held"
    process.kill()
    process.communicate(timeout=30)

    held = lease.is_held(path)

    _kill(int(pid))
    assert not held


def test_a_lock_file_that_was_removed_and_remade_is_locked_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the holder destroys the environment between our open and our lock
    first = lease.acquire(path, holder=dict)
    real = lease.fcntl.flock
    others: list[lease.Lock] = []

    def flock(fd: int, how: int) -> None:
        if not others:
            first.release(remove=True)
            monkeypatch.setattr(lease.fcntl, "flock", real)
            others.append(lease.acquire(path, holder=dict))
        real(fd, how)

    monkeypatch.setattr(lease.fcntl, "flock", flock)

    with pytest.raises(LockedError):
        lease.acquire(path, holder=dict)

    others[0].release()


def test_a_released_lease_leaves_no_file_where_that_is_asked_for(path: Path) -> None:
    lease.acquire(path, holder=dict).release(remove=True)

    assert not path.parent.exists()


def test_looking_whether_it_is_held_creates_nothing_and_takes_nothing(path: Path) -> None:
    assert not lease.is_held(path)
    assert not path.parent.exists()

    lock = lease.acquire(path, holder=dict)
    assert lease.is_held(path)
    lock.release()
    assert not lease.is_held(path)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "9p", "fuse.sshfs", "ceph"])
def test_a_network_file_system_is_refused(
    path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_file_system", lambda _folder: kind)

    with pytest.raises(StoreError, match=kind) as refused:
        lease.acquire(path, holder=dict)

    assert "DEPLOYER_STATE_DIR" in refused.value.hint


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", ""])
def test_a_local_file_system_is_taken(
    path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_file_system", lambda _folder: kind)

    lease.acquire(path, holder=dict).release()


def _kill(pid: int) -> None:
    import os
    import signal

    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
