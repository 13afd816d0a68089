"""Signals at a random moment of a deploy: SIGINT, SIGTERM, two SIGINTs, SIGSTOP for a while, and
SIGKILL to the running ansible-playbook alone; by turns.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import psutil
from harness import Child, Lab, prove, until
from sweep import Hit, try_one

if TYPE_CHECKING:
    import random

FAILED = (10, 20, 30, 40)
INTERRUPTED = (130, -signal.SIGINT)  # the latter where Python itself was still starting


def _interrupt(_: Lab, child: Child, dice: random.Random) -> None:
    child.process.send_signal(signal.SIGINT)


def _group(_: Lab, child: Child, dice: random.Random) -> None:
    # what a terminal does on Ctrl-C
    os.killpg(child.process.pid, signal.SIGINT)


def _terminate(_: Lab, child: Child, dice: random.Random) -> None:
    child.process.send_signal(signal.SIGTERM)


def _twice(_: Lab, child: Child, dice: random.Random) -> None:
    child.process.send_signal(signal.SIGINT)
    _pass(dice.random() * 0.8)
    child.process.send_signal(signal.SIGINT)


def _pause(_: Lab, child: Child, dice: random.Random) -> None:
    child.process.send_signal(signal.SIGSTOP)
    _pass(0.3 + dice.random() * 2)
    child.process.send_signal(signal.SIGCONT)


def _playbook(_: Lab, child: Child, dice: random.Random) -> None:
    until(lambda: child.process.poll() is not None or bool(_playbooks(child)), "no playbook")
    for process in _playbooks(child)[:1]:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _playbooks(child: Child) -> list[psutil.Process]:
    found = []
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(child.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if "ansible-playbook" in " ".join(process.cmdline()):
                    found.append(process)
    return found


def _pass(seconds: float) -> None:
    # the length of the pause is what is tried, not luck
    limit = time.monotonic() + seconds
    while (left := limit - time.monotonic()) > 0:
        time.sleep(left)


HITS = (
    Hit("SIGINT", _interrupt, INTERRUPTED, settled=True),
    Hit("SIGTERM", _terminate, (143, -signal.SIGTERM), settled=True),
    Hit("two SIGINTs", _twice, INTERRUPTED),
    Hit("SIGSTOP, then SIGCONT", _pause, ()),
    Hit("SIGKILL to ansible-playbook", _playbook, FAILED, settled=True),
    Hit("SIGINT to the process group", _group, INTERRUPTED, settled=True),
)

if __name__ == "__main__":
    prove(lambda dice, index: try_one(HITS[index % len(HITS)], dice), count=60)
