"""Operations of the real program on the fake world, each held to what the design wants of it."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from typing import TYPE_CHECKING

from deployer.api import Deployer
from deployer.errors import Code, DeployerError
from deployer.paths import Workspace
from state import machine
from state.errors import StoreError
from state.store import Store
from tests.deployer.oracle import PROVES, RAISING, Expected, Files, is_true, needed
from tests.deployer.world import Fault, Killed, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from state.records import EnvironmentRecord, OperationRecord, TransitionRecord

NAME = "shop"
VERBS = (*RAISING, "stop", "clear", "destroy")
APP = """
name = "shop"
[settings.title]
type = "string"
default = ""
[[services]]
name = "web"
command = ["web"]
environment = { TITLE = "{{ settings.title }}" }
"""
PROVIDER = """
name = "local"
version = "1"
kind = "static"
capabilities = ["python3"]
[options.size]
type = "string"
default = "small"
"""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Driver:
    """One environment in a workspace of its own, with the world it runs in and the oracle."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.workspace = Workspace(folder, folder / ".deployer")
        for name in ("app", "environments", "providers/local"):
            (folder / name).mkdir(parents=True)
        (folder / "app" / "app.toml").write_text(APP)
        (folder / "providers" / "local" / "provider.toml").write_text(PROVIDER)
        self.deployer = Deployer(self.workspace)
        self.world = World(self.workspace.store)
        self.world.stand_in(patch, folder / "private")
        self.files = Files()
        self.expected = Expected()
        self.write_files()

    def write_files(self) -> None:
        files = self.files
        (self.workspace.root / "app" / "text.txt").write_text(files.text)
        text = f'app = "./app"\n[provider_options]\nsize = "{files.option}"\n'
        text += f'[settings]\ntitle = "{files.title}"\n'
        self.workspace.environment_file(NAME).write_text("=" if files.broken else text)

    def edit(self, what: str) -> None:
        """Change a file, our own code or the application's health to its other value, and back."""
        files, world = self.files, self.world
        match what:
            case "text":
                files.text = "two" if files.text == "one" else "one"
            case "title":
                files.title = "Two" if files.title == "One" else "One"
            case "option":
                files.option = "large" if files.option == "small" else "small"
            case "code":
                world.code = "b" if world.code == "a" else "a"
            case "broken":
                files.broken = not files.broken
            case "sick":
                world.sick = not world.sick
        self.write_files()

    def snapshot(self) -> Callable[[], None]:
        """How to go back to this moment, between two operations."""
        store = self.workspace.store.read_bytes()
        kept = deepcopy((self.expected, self.files, vars(self.world)))

        def restore() -> None:
            self.workspace.store.write_bytes(store)
            self.expected, self.files, world = deepcopy(kept)
            vars(self.world).update(world)
            self.write_files()

        return restore

    # ---- what is recorded

    def record(self) -> EnvironmentRecord | None:
        store = Store.read(self.workspace.store)
        if store is None:
            return None
        record = store.environment(NAME)
        store.close()
        return record

    def operations(self) -> list[OperationRecord]:
        store = Store.read(self.workspace.store)
        found = store.operations(NAME) if store else []
        if store:
            store.close()
        return found

    def moves(self) -> list[TransitionRecord]:
        store, record = Store.read(self.workspace.store), self.record()
        found = store.transitions(record.id) if store and record else []
        if store:
            store.close()
        return found

    # ---- operations

    def create(self) -> None:
        self.world.operation_starts(None)
        self.deployer.create(NAME)
        self.expected = Expected("created", 0)
        self.check()

    def operate(self, command: str, fault: Fault | None = None) -> BaseException | None:
        """Run a verb or `deploy`, hold it to the design, and return what it raised."""
        rows, moves = len(self.operations()), len(self.moves())
        before = deepcopy(self.expected)
        before.settle()
        good, supported = self.world.good, before.supported(self.world)
        want = needed(before, self.files, self.world)
        works = self._works(command, before)

        problem = self._run(command, fault)

        operations = self.operations()
        old, new = operations[:rows], operations[rows:]
        made = self.moves()[moves:]
        triggers = [move.trigger for move in made]
        if "settle" in triggers:
            self.expected.settle()
        if new:
            assert not self.expected.pending, "it begins before the interrupted verb is settled"
            assert all(o.outcome for o in old), "it leaves a dead operation open"
        verbs = [o for o in new if o.verb != "deploy"]
        looked = "look" in triggers
        if command == "deploy" and (looked or verbs or (new and new[0].outcome == "succeeded")):
            self.expected.lower(supported)
        base = deepcopy(self.expected)
        struck = fault.struck if fault else None
        blind = struck == "look" and fault is not None and fault.kind in ("fail", "flicker")
        for operation in verbs:
            self.expected.follow(operation, self.files, self.world, good=good and not blind)
        self.check()
        self._check_verbs(verbs, base)
        if made and made[-1].to_state == "running":
            assert self.world.good, "running, but it is not"
        if struck is None:
            assert (problem is None) == works, f"{command}: {problem!r}"
        if command == "deploy" and not blind:
            ran = [o.verb for o in verbs]
            through = problem is None or (struck is None and bool(ran))
            assert ran == (want if through else want[: len(ran)]), f"ran {ran}, needed {want}"
        if blind and problem is not None and verbs:
            assert not verbs[-1].acting, "a failed look is taken for a failure while acting"
        return problem

    def _run(self, command: str, fault: Fault | None) -> BaseException | None:
        self.world.operation_starts(fault)
        try:
            if command == "deploy":
                self.deployer.deploy(NAME)
            else:
                self.deployer.run_verb(NAME, command)
        except (DeployerError, StoreError, Killed, KeyboardInterrupt) as problem:
            # a killed process tells nobody anything
            if isinstance(problem, DeployerError) and not self.world.dead:
                assert problem.code is not Code.INTERNAL, problem
            return problem
        finally:
            self.world.fault = None
            self.world.dead = self.world.full = False
        return None

    def _works(self, command: str, before: Expected) -> bool:
        """Whether it must succeed where nothing strikes."""
        world, files = self.world, self.files
        if command == "deploy":
            if before.state == "destroy_failed" or files.broken:
                return False
            return not world.sick or "run" not in needed(before, files, world)
        if not before.allows(command) or (files.broken and command in RAISING):
            return False
        ready = {
            "release": world.owner is not None or self._unchanged(before),
            "run": world.whole and world.current == before.number and not world.sick,
        }
        return ready.get(command, True)

    def _unchanged(self, before: Expected) -> bool:
        return self.world.whole and not before.outdated("release", self.files, self.world)

    # ---- what must hold

    def _check_verbs(self, verbs: list[OperationRecord], before: Expected) -> None:
        done = [o for o in verbs if o.outcome == "succeeded"]
        for operation in done:
            if operation is verbs[-1]:
                assert is_true(operation.verb, self.files, self.world, digest), operation.verb
            if operation.verb in ("configure", "release"):
                assert bool(operation.changed) == (operation.verb in self.world.changes)
        if self.expected.rank > before.rank:
            assert done, "rank without a success"
            assert done[-1].verb in RAISING
            assert self.expected.rank == PROVES[done[-1].verb]

    def check(self) -> None:
        record, expected, world = self.record(), self.expected, self.world
        if record is None:
            assert expected.state == "absent"
            return
        found = (record.state.value, record.rank, set(record.serving))
        assert found == (expected.state, expected.rank, expected.serving)
        if world.up is not None:
            assert world.up in record.serving, "what is up is not named in serving"
        if record.exists and record.state not in machine.ACTING:
            able = set(machine.allowed_verbs(record.position, serving=bool(record.serving)))
            assert able == {verb for verb in VERBS if expected.allows(verb)}
            assert "stop" in able or world.up is None, "what is up can't be stopped"
        unfinished = [o for o in self.operations() if o.outcome is None]
        if record.state in machine.ACTING:
            assert any(o.acting for o in unfinished), "it acts for ever: no operation is open"
        if not unfinished:
            assert not world.children, "its row is closed, its child lives"
