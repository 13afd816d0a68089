"""SIGKILL at a random moment of a deploy: to deployer alone, to every descendant, and to all just
when something has begun on the host; by turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import Child, Lab, kill_all, kill_alone, prove, until
from sweep import Hit, try_one

if TYPE_CHECKING:
    import random

KILLED = (-9,)


def _alone(found: Lab, child: Child, _: random.Random) -> None:
    kill_alone(found, child)


def _all(found: Lab, child: Child, _: random.Random) -> None:
    kill_all(found, child)


def _at_work(found: Lab, child: Child, _: random.Random) -> None:
    known = len(found.journal())
    until(lambda: len(found.journal()) > known or child.process.poll() is not None, "it hangs")
    kill_all(found, child)


HITS = (
    Hit("SIGKILL to deployer alone", _alone, KILLED),
    Hit("SIGKILL to all", _all, KILLED),
    Hit("SIGKILL to all, at work on the host", _at_work, KILLED),
)

if __name__ == "__main__":
    prove(lambda dice, index: try_one(HITS[index % len(HITS)], dice), count=300)
