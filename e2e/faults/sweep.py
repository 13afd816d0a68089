"""A deploy that is hit at a random moment, and the deploy after it: what both sweeps share."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
from harness import Broken, Child, Done, Lab, expect, lab, operation_of, ran_for, until

from state.machine import ACTING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

SITUATIONS = ("fresh", "app edited", "setting edited", "services killed", "released")
SECONDS = {"fresh": 4.5, "app edited": 3.0, "setting edited": 3.0, "released": 3.0}
"""What a deploy takes about; the moment of the hit is a random part of it."""


@dataclass
class Hit:
    """What was done to a deploy, and how that is to end."""

    name: str
    act: Callable[[Lab, Child, random.Random], None]
    codes: tuple[int, ...]
    """Exit codes that are right, where the hit came in time."""
    settled: bool = False
    """Whether deployer itself must have left everything settled."""


def arrange(found: Lab, situation: str) -> None:
    """Bring the environment to where the deploy that is hit begins."""
    found.create()
    if situation == "fresh":
        return
    found.deploy()
    if situation == "app edited":
        found.text = "second"
    elif situation == "setting edited":
        found.word = "two"
    elif situation == "services killed":
        for process in found.services():
            process.kill()
    elif situation == "released":
        found.run("stop", found.name)
    found.write()


def try_one(hit: Hit, dice: random.Random) -> str:
    """Hit a deploy at a random moment, then deploy again, and check all that must hold."""
    situation = dice.choice(SITUATIONS)
    moment = dice.random()
    with lab() as found:
        arrange(found, situation)
        began = len(found.journal())
        before = found.newest_token()
        child = found.start("deploy", found.name)
        pause = moment * SECONDS.get(situation, 3.0)
        until(lambda: ran_for(child) >= pause or child.process.poll() is not None, "it hangs")
        in_time = child.process.poll() is None
        try:
            if in_time:
                hit.act(found, child, dice)
            first = child.wait()
            check_first(found, hit, first, in_time, before)
            check_second(found, before)
        except Broken as broken:
            where = f"{hit.name}, {situation}, after {pause:.2f} s"
            calls = "\n".join(map(json.dumps, found.journal()[began:]))
            raise Broken(f"{where}: {broken}\njournal:\n{calls}") from broken
    return f"{hit.name}, {situation}" + ("" if in_time else " (was done already)")


def check_first(found: Lab, hit: Hit, first: Done, in_time: bool, before: int) -> None:
    """The operation that was hit ended as it must, and wrote down the truth."""
    found.check_store()
    found.check_intent()
    codes = (0, *hit.codes) if in_time else (0,)
    expect(first.code in codes, f"the one that was hit: {first}")
    if first.code in (-signal.SIGINT, -signal.SIGTERM):
        expect(found.newest_token() == before, f"it had begun, and ended unhandled: {first}")
    expect("Traceback" not in first.err, f"a traceback: {first}")
    if first.code == 0:
        found.check_running()
    elif hit.settled:
        found.check_settled()
    expect(found.lease_is_free(), "the lease outlived its holder")


def check_second(found: Lab, before: int) -> None:
    """`deploy` finishes what was cut short, ends what it left, and repeats nothing.

    `before` is the newest token before the operation that was hit.
    """
    orphans = {p: operation_of(p) for p in found.workers()}
    state = found.check_store()
    steps = found.rows(
        "SELECT o.verb, s.name, o.outcome AS verb_outcome FROM steps s JOIN operations o"
        " ON o.id = s.operation_id WHERE s.outcome = 'done' AND o.token > ?",
        before,
    )
    completed = {row["verb"] for row in steps if row["verb_outcome"] == "succeeded"}
    installed = any(row["name"] == "install" for row in steps)
    child = found.start("deploy", found.name)
    until(
        lambda: "OperationStarted" in child.said() or child.process.poll() is not None,
        "the second deploy hangs",
    )
    alive = [process for process in orphans if process.is_running() and _works(process)]
    second = child.wait()
    expect(not alive, f"the second deploy began beside what the first had left: {alive}")
    expect(second.code == 0, f"the second deploy, from {state}: {second}")
    found.check_running()
    again = {verb["verb"] for verb in second.data["verbs"]}
    repeated = completed & again - {"run"}
    expect(not repeated, f"{repeated} had succeeded, and ran again")
    changed = {
        event["verb"]
        for event in second.events
        if event["event"] == "StepFinished" and event.get("changed")
    }
    expect(not (installed and "release" in changed), "an installed release was installed again")
    if state in ACTING:
        took = any(event.get("step") == "take-over" for event in second.events)
        expect(took, "nobody said that an operation was taken over")
    third = found.deploy()
    expect(third.data["verbs"] == [], f"a third deploy found something to do: {third}")


def _works(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
