"""A workspace that goes wrong: full disk, read-only, a truncated store, a clock that jumps."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness import DEPLOYER, Lab, Skipped, expect, hit_at, lab, prove

from state.backup import backup

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

DISK = 6 * 1024 * 1024  # bytes
FAILED = (9, 20, 30, 40)


@contextlib.contextmanager
def _small_disk() -> Iterator[Lab]:
    if os.geteuid() != 0:
        raise Skipped("a small disk can be mounted by root alone")
    place = Path(tempfile.mkdtemp(prefix="deployer-disk-"))
    options = f"size={DISK},mode=0755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)
    try:
        found = Lab(place)
        try:
            yield found
        finally:
            _remount(place, "rw")
            found.clean(keep=True)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
        place.rmdir()


def _remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(place)], check=True)


def full_disk(dice: random.Random) -> str:
    """A full disk is told as such; once there is space again, `deploy` finishes."""
    with _small_disk() as found:
        found.create()
        if dice.random() < 0.5:
            found.deploy()
            found.text = "second"
            found.write()
        free = os.statvfs(found.root)
        left = dice.choice((0, dice.randrange(64 * 1024), dice.randrange(512 * 1024)))
        filler = found.root / "filler"
        with contextlib.suppress(OSError):
            filler.write_bytes(b"x" * max(0, free.f_bavail * free.f_frsize - left))
        first = found.run("deploy", found.name, codes=(0, *FAILED))
        expect("Traceback" not in first.err, f"{first}")
        if first.code:
            expect(bool(first.error["message"]), f"{first}")
        if left == 0:
            expect(first.code == 9 or "space" in first.error["message"], f"{first}")
        found.run("list", codes=(0, 9))
        filler.unlink()
        found.check_store()
        found.check_intent()
        found.deploy()
        found.check_running()
    return "full disk"


def read_only(dice: random.Random) -> str:
    """What reads works, what writes exits 9, and nothing is lost."""
    with _small_disk() as found:
        found.create()
        if dice.random() < 0.5:
            found.deploy()
        _remount(found.root, "ro")
        for arguments in (("deploy", found.name), ("create", "other"), ("stop", found.name)):
            done = found.run(*arguments, codes=(9,))
            expect(bool(done.error["hint"]), f"no remedy: {done}")
        for arguments in (("list",), ("show", found.name), ("history", found.name)):
            found.run(*arguments)
        _remount(found.root, "rw")
        found.deploy()
        found.check_running()
    return "read-only workspace"


def truncated(dice: random.Random) -> str:
    """A store that was cut off is refused, by what reads too, naming the backup."""
    with lab() as found:
        found.create()
        path = found.state_dir / "state.db"
        saved = backup(path, found.state_dir / "backups" / "by-hand.db").path
        size = path.stat().st_size
        cut = dice.choice(
            (0, dice.randrange(1, 512), dice.randrange(size), size // 2 // 4096 * 4096)
        )
        os.truncate(path, cut)
        before = path.read_bytes()
        for arguments in (("deploy", found.name), ("list",), ("create", "other"), ("show", "demo")):
            done = found.run(*arguments, codes=(9,))
            said = f"{done.error['message']} {done.error['hint']}"
            expect(str(saved) in said, f"cut at {cut}: the backup is not named: {said}")
        expect(path.read_bytes() == before, f"cut at {cut}: the damaged store was written to")
        found.run("restore", str(saved), "--yes")
        found.deploy()
        found.check_running()
    return "truncated store"


def clock(dice: random.Random) -> str:
    """Whatever the clock says, operations follow each other, and a dead one is taken over."""
    back, forward = (sign * dice.randrange(1, 4000) * 86400 for sign in (-1, 1))

    def off(seconds: int) -> tuple[str, ...]:
        return (sys.executable, str(Path(__file__).with_name("shifted.py")), str(seconds))

    with lab() as found:
        found.create()
        for turn, jump in enumerate(dice.sample((back, forward, back, 0), 3)):
            found.deployer = off(jump)
            found.text = f"edit {turn}"
            found.write()
            child = found.start("deploy", found.name)
            hit_at(found, child, 0.5 + dice.random() * 2, dice)
            child.wait()
            found.deployer = off(dice.choice((back, forward)))
            found.deploy()
            found.check_running()
        times = found.rows("SELECT started_at FROM operations")
        dates = {row["started_at"][:10] for row in times}
        expect(len(dates) > 1, "the clock was not off")
        found.deployer = (DEPLOYER,)
        expect(len(found.run("history", found.name).data["operations"]) > 1, "no history")
    return "clock set back and forward (a fake clock of deployer's own)"


TRIES = (full_disk, read_only, truncated, clock)

if __name__ == "__main__":
    prove(lambda dice, index: TRIES[index % len(TRIES)](dice), count=40)
