"""SIGKILL in every phase of a deploy to an LXD container, each deploy cut short by the next kill:
while it plans, while it makes the container, while it configures, releases and runs. The kills
hit deployer alone or every descendant. The last deploy finishes; then all is destroyed.

Each try is five kills.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from harness import (
    APP_TOML,
    WEB,
    Broken,
    Child,
    Lab,
    Skipped,
    end,
    expect,
    kill_all,
    kill_alone,
    prove,
    until,
)

from e2e.hosts.fleet import lxd_available
from state.machine import ACTING, State

if TYPE_CHECKING:
    import random

SPANS = {"plan": 0.6, "apply": 3.0, "prepare-hosts": 1.5, "install": 1.0, "start": 2.0}
"""The steps in which a kill falls, and the seconds after their start within which it does."""


def lxc(*words: str) -> str:
    """Run a command of LXD's client."""
    done = subprocess.run(
        ["lxc", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )
    expect(done.returncode == 0, f"lxc {' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


class LxdLab(Lab):
    """The small application, in a container."""

    def write(self) -> None:
        """Write what the user edits; the application listens where others reach it."""
        super().write()
        here, there = (
            '127.0.0.1:{{ settings.port }}/"\n',
            '{{ host.address }}:{{ settings.port }}/"\n',
        )
        manifest = APP_TOML.replace(f'url = "http://{here}', f'url = "http://{there}')
        expect(manifest != APP_TOML, "the manifest has no url to change")
        manifest = manifest.replace("\n\n", '\nruntimes = ["systemd"]\n\n', 1)
        (self.root / "app" / "app.toml").write_text(manifest)
        (self.root / "app" / "web.py").write_text(WEB.replace('"127.0.0.1"', '"0.0.0.0"'))

    def containers(self) -> list[str]:
        """The containers that carry the environment's tag."""
        uuid = self.record()["uuid"]
        found = json.loads(lxc("list", "--format", "json", f"user.deployer.id={uuid}"))
        return [one["name"] for one in found]

    def answer(self) -> str:
        """What the application says, there where the environment says that it is."""
        (url,) = self.run("show", self.name).data["urls"]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=10) as response:
            return str(response.read().decode())

    def check_hit(self) -> None:
        """After a kill: the store tells the truth, and no second container is there."""
        self.check_store()
        expect(self.lease_is_free(), "the lease outlived its holder")
        found = self.containers()
        expect(len(found) <= 1, f"more than one container: {found}")

    def check_finished(self) -> None:
        """One container, the newest release in it, and nobody who still works."""
        expect(self.check_store() == State.RUNNING, f"the state is {self.record()['state']}")
        expect(self.containers() == [f"{self.name}-1"], f"containers: {self.containers()}")
        expect(not self.workers(), f"still working: {self.workers()}")
        unended = self.rows("SELECT id, verb FROM operations WHERE outcome IS NULL")
        expect(not unended, f"operations without an end: {unended}")
        said, wanted = self.answer(), f"{self.text} {self.word}"
        expect(said == wanted, f"the application says {said!r}, not {wanted!r}")

    def clean(self, *, keep: bool = False) -> None:
        """Remove the container too, whatever failed."""
        with contextlib.suppress(Exception):
            end(self.workers())
            for name in self.containers():
                lxc("delete", "--force", name)
        super().clean(keep=keep)


def _reached(child: Child, step: str) -> bool:
    said = child.said().replace(" ", "")
    return f'"step":"{step}"' in said or child.process.poll() is not None


def hit(found: LxdLab, step: str, dice: random.Random) -> str:
    """Kill a deploy somewhere in a step. Returns in which way."""
    child = found.start("deploy", found.name)
    until(lambda: _reached(child, step), f"no step {step}")
    moment = dice.random() * SPANS[step]
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.process.wait(moment)
    alone = dice.random() < 0.5
    if child.process.poll() is None:
        (kill_alone if alone else kill_all)(found, child)
    way = f"{step}, {'deployer alone' if alone else 'all'}, after {moment:.2f} s"
    try:
        done = child.wait()
        expect(done.code in (0, -9), f"the one that was hit: {done}")
        found.check_hit()
    except Broken as broken:
        raise Broken(f"{way}: {broken}") from broken
    return way + (" (was done already)" if done.code == 0 else "")


def try_one(dice: random.Random, index: int) -> str:
    """Five kills, a deploy that finishes, one with nothing to do, and a destroy."""
    if reason := lxd_available():
        raise Skipped(reason)
    hits: list[str] = []
    foreign = f"deployer-test-{dice.randrange(1 << 32):08x}"
    lxc("init", "debian/12", foreign, "-c", "user.deployer.id=another")
    found = LxdLab(
        Path(tempfile.mkdtemp(prefix="deployer-fault-")),
        name=f"k{dice.randrange(1 << 32):08x}",
        extra='provider = "lxd"',
    )
    try:
        before = lxc("config", "show", foreign)
        found.create()
        for step in SPANS:
            hits.append(hit(found, step, dice))
            print(f"   {index}: {hits[-1]}", flush=True)
        state = found.check_store()
        last = found.deploy()
        found.check_finished()
        if state in ACTING:
            took = any(event.get("step") == "take-over" for event in last.events)
            expect(took, "nobody said that an operation was taken over")
        expect(found.deploy().data["verbs"] == [], "a second deploy found something to do")
        found.destroy()
        expect(not found.containers(), f"destroy left {found.containers()}")
        expect(lxc("config", "show", foreign) == before, "the foreign container was touched")
    except Broken as broken:
        raise Broken(f"{broken}\nafter {'; '.join(hits)}") from broken
    finally:
        found.clean()
        lxc("delete", "--force", foreign)
    return "five kills"


if __name__ == "__main__":
    prove(try_one, count=10)
