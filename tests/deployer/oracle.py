"""What must come of an operation, spelled out once more, apart from the program's table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from state.records import OperationRecord
    from tests.deployer.world import World

RAISING = ("provision", "configure", "release", "run")
BASE = ("created", "provisioned", "configured", "released", "running")
NEEDS = {"provision": 0, "configure": 1, "release": 2, "run": 3, "clear": 2}
PROVES = {"provision": 1, "configure": 2, "release": 3, "run": 4}
ACTING = {
    "provision": ("provisioning", 0),
    "configure": ("configuring", 1),
    "release": ("releasing", 2),
    "run": ("starting", 3),
    "clear": ("clearing", 2),
    "destroy": ("destroying", -1),
}
FAILED = {
    "provision": ("provision_failed", 0),
    "configure": ("configure_failed", 1),
    "release": ("release_failed", 2),
    "run": ("run_failed", 3),
    "clear": ("configured", 2),
    "destroy": ("destroy_failed", -1),
}


@dataclass
class Files:
    """What the user's files say, and which of our code there is: what the verbs' inputs are."""

    text: str = "one"
    title: str = "One"
    option: str = "small"
    broken: bool = False

    def inputs(self, world: World) -> dict[str, object]:
        return {
            "provision": self.option,
            "configure": world.code,
            "release": (self.text, self.title),
            "run": None,
        }


@dataclass
class Expected:
    """The record as the design wants it."""

    state: str = "absent"
    rank: int = -1
    serving: set[int] = field(default_factory=set)
    inputs: dict[str, object] = field(default_factory=dict)
    number: int | None = None
    """The release that the last successful `release` made."""
    pending: str | None = None
    """A verb that acts, and whose operation died."""
    origin: tuple[str, int] = ("absent", -1)

    @property
    def exists(self) -> bool:
        return self.state not in ("absent", "destroyed")

    def allows(self, verb: str) -> bool:
        if verb in ("stop", "destroy"):
            return True
        if self.state == "destroy_failed" or (verb == "clear" and self.serving):
            return False
        return self.rank >= NEEDS[verb]

    def outdated(self, verb: str, files: Files, world: World) -> bool:
        return verb in self.inputs and self.inputs[verb] != files.inputs(world)[verb]

    def supported(self, world: World) -> int:
        """The rank below the lowest result that is gone."""
        if world.prepared is None:
            return 1
        if not world.whole or world.current != self.number:
            return 2
        return 4 if world.good else 3

    def lower(self, supported: int) -> None:
        """What a look that found `supported` leaves."""
        if self.rank >= 1 and self.rank > supported:
            self.state, self.rank = BASE[supported], supported

    def settle(self) -> None:
        if self.pending:
            self.fail(self.pending)
            self.pending = None

    def begin(self, verb: str, number: int | None) -> None:
        self.origin = (self.state, self.rank)
        self.state, self.rank = ACTING.get(verb, ("stopping", min(self.rank, 3)))
        if verb == "run":
            assert number is not None
            self.serving.add(number)

    def fail(self, verb: str) -> None:
        if verb != "stop":
            self.state, self.rank = FAILED[verb]
        elif self.origin[0] == "running":
            self.state, self.rank = "released", 3
        else:
            self.state, self.rank = self.origin

    def succeed(self, verb: str, *, changed: bool, files: Files, world: World, good: bool) -> None:
        """`good`: whether a closing look finds the services healthy, where nothing changed."""
        if verb in ("stop", "destroy"):
            self.serving = set()
        if verb == "destroy":
            self.state, self.rank, self.inputs, self.number = "destroyed", -1, {}, None
        elif verb == "stop":
            self.fail(verb)
        elif verb == "clear":
            self.state, self.rank = "configured", 2
        else:
            self.inputs[verb] = files.inputs(world)[verb]
            was, rank = self.origin
            if verb != "run" and not changed and rank >= PROVES[verb]:
                gone = was == "running" and not good
                self.state, self.rank = ("released", 3) if gone else (was, rank)
            else:
                self.state, self.rank = BASE[PROVES[verb]], PROVES[verb]
        if verb == "run":
            assert world.current is not None
            self.serving = {world.current}

    def follow(self, operation: OperationRecord, files: Files, world: World, *, good: bool) -> None:
        """What one verb's recorded end must have led to."""
        if not operation.acting:
            return
        self.begin(operation.verb, self.number)
        if operation.outcome is None:
            self.pending = operation.verb
        elif operation.outcome == "succeeded":
            changed = bool(operation.changed)
            self.succeed(operation.verb, changed=changed, files=files, world=world, good=good)
            if operation.verb == "release":
                self.number = world.current
        else:
            self.fail(operation.verb)


def needed(expected: Expected, files: Files, world: World) -> list[str]:
    """The verbs that `deploy` must run: unproven, untrue, outdated, or after a change."""
    true: dict[str, bool] = {
        "provision": True,
        "configure": world.prepared is not None,
        "release": world.whole and world.current == expected.number,
        "run": world.good,
    }
    found: list[str] = []
    changed = False
    for verb in RAISING:
        outdated = expected.outdated(verb, files, world)
        if not (changed or expected.rank < PROVES[verb] or not true[verb] or outdated):
            continue
        found.append(verb)
        changed = (
            changed
            or {
                "provision": False,
                "configure": world.prepared != world.code,
                "release": not true["release"] or outdated,
                "run": True,
            }[verb]
        )
    return found


def is_true(verb: str, files: Files, world: World, digest: Any) -> bool:
    """Whether a verb that has succeeded left what it says."""
    return {
        "provision": True,
        "configure": world.prepared == world.code,
        "release": world.content() == (digest(files.text), files.title),
        "run": world.good,
        "stop": world.up is None,
        "clear": not world.releases and world.current is None,
        "destroy": world.empty,
    }[verb]
