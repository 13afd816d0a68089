"""SIGKILL at a random moment of a deploy: to deployer alone and to every descendant, by turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import Child, Lab, kill_all, kill_alone, prove
from sweep import Hit, try_one

if TYPE_CHECKING:
    import random

KILLED = (-9,)


def _alone(found: Lab, child: Child, _: random.Random) -> None:
    kill_alone(found, child)


def _all(found: Lab, child: Child, _: random.Random) -> None:
    kill_all(found, child)


HITS = (Hit("SIGKILL to deployer alone", _alone, KILLED), Hit("SIGKILL to all", _all, KILLED))

if __name__ == "__main__":
    prove(lambda dice, index: try_one(HITS[index % len(HITS)], dice), count=300)
