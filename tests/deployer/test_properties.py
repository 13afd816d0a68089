"""Whatever happens in whatever order, the table, the planner and the engine keep their promises.

(a) `running` and every success are true in the world; (b) no dead end: `deploy` reaches
`running`, `destroy` leaves nothing; (c) `deploy` runs what is needed and nothing else; (d) `stop`
is possible while anything may be up; (e) only a verb's own success raises the rank; (f) no
operation acts beside another one's children; (g) whatever is up is named in `serving`. The driver
checks them after every operation, `World` while one acts.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from deployer.errors import InterruptedOperation, NotFoundError
from deployer.lifecycle import session
from state.store import Store
from tests.deployer.driver import NAME, VERBS, Driver
from tests.deployer.world import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = ("kill", "fail", "sigint", "sigint2", "flicker")
FAULTS = st.none() | st.tuples(st.integers(1, 40), st.sampled_from(KINDS))
EDITS = ("text", "title", "option", "code")
WEATHER = ("service_dies", "service_hangs", "release_removed", "host_folder_removed", "reboot")
MEMORY = Path("/dev/shm")  # the store is written durably, which takes its time on a disk


class Life(RuleBasedStateMachine):
    """Users, faults and the weather, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.patch = pytest.MonkeyPatch()
        self.driver = Driver(Path(self.folder.name), self.patch)

    @property
    def world(self):
        return self.driver.world

    def exists(self) -> bool:
        return self.driver.expected.exists

    @initialize(deployed=st.booleans())
    def start(self, deployed: bool) -> None:
        self.driver.create()
        if deployed:
            self.driver.operate("deploy")

    @precondition(lambda self: not self.exists())
    @rule()
    def create(self) -> None:
        if not self.driver.files.broken:
            self.driver.create()

    @precondition(exists)
    @rule(verb=st.sampled_from(VERBS), fault=FAULTS)
    def run_verb(self, verb: str, fault: tuple[int, str] | None) -> None:
        self.driver.operate(verb, Fault(*fault) if fault else None)

    @precondition(exists)
    @rule(fault=FAULTS)
    def deploy(self, fault: tuple[int, str] | None) -> None:
        self.driver.operate("deploy", Fault(*fault) if fault else None)

    @rule(what=st.sampled_from([*EDITS, "broken", "sick"]))
    def edit(self, what: str) -> None:
        self.driver.edit(what)

    @precondition(exists)
    @rule(what=st.sampled_from([*WEATHER, "orphans_go_on"]))
    def weather(self, what: str) -> None:
        getattr(self.world, what)()
        self.driver.check()

    def teardown(self) -> None:
        try:
            self.no_dead_end()
        finally:
            self.patch.undo()
            self.folder.cleanup()

    def no_dead_end(self) -> None:
        driver = self.driver
        driver.files.broken = driver.world.sick = False
        driver.write_files()
        if driver.expected.exists and driver.expected.state not in ("destroying", "destroy_failed"):
            assert driver.operate("deploy") is None
            assert driver.expected.state == "running"
            assert driver.operate("deploy") is None
        if driver.expected.exists:
            assert driver.operate("destroy") is None
            assert driver.world.empty


@pytest.mark.timeout(600)  # a failure is cut down to its shortest sequence, in up to five minutes
def test_promises_hold_whatever_happens() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=70,
            stateful_step_count=10,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            report_multiple_bugs=False,
        ),
    )


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as folder:
        yield Driver(Path(folder), monkeypatch)


@pytest.mark.parametrize(
    ("deployed", "edited", "command", "kind"),
    [
        (False, None, "deploy", "kill"),
        (True, "text", "deploy", "sigint2"),
        (True, "text", "deploy", "fail"),
        (True, "code", "configure", "kill"),
        (True, "code", "configure", "sigint2"),
        (True, None, "configure", "kill"),
        (True, None, "configure", "fail"),
        (True, None, "stop", "kill"),
        (True, None, "destroy", "kill"),
        (True, None, "destroy", "fail"),
    ],
)
def test_a_fault_at_any_point_is_mended_by_the_next_deploy(
    driver: Driver, deployed: bool, edited: str | None, command: str, kind: str
) -> None:
    driver.create()
    if deployed:
        driver.operate("deploy")
    if edited == "code":
        driver.world.code = "b"
    elif edited:
        driver.files.text = "two"
        driver.write_files()
    restore = driver.snapshot()
    at, struck = 1, True

    while struck:
        fault = Fault(at, kind)
        driver.operate(command, fault)
        struck = fault.struck is not None
        # what a killed operation left alive goes on before anybody comes
        driver.world.orphans_go_on()
        driver.check()
        if command == "destroy":
            if driver.expected.exists:
                assert driver.operate("destroy") is None
            assert driver.world.empty
        else:
            assert driver.operate("deploy") is None
            assert driver.expected.state == "running"
        restore()
        at += 1

    assert at > 10


@pytest.mark.parametrize("first", [*EDITS, *WEATHER, "stop", "configure", "release"])
def test_deploy_runs_exactly_what_two_happenings_need(driver: Driver, first: str) -> None:
    def happens(what: str) -> None:
        if what in EDITS:
            driver.edit(what)
        elif what in WEATHER:
            getattr(driver.world, what)()
        else:
            driver.operate(what)

    driver.create()
    driver.operate("deploy")
    happens(first)
    restore = driver.snapshot()

    for second in (*EDITS, *WEATHER, "provision", "configure", "release", "run", "stop"):
        happens(second)

        assert driver.operate("deploy") is None  # the driver compares what ran with what was needed
        assert driver.expected.state == "running"
        restore()


def test_a_closing_look_without_an_answer_fails_nothing(driver: Driver) -> None:
    driver.create()
    driver.operate("deploy")
    looks = [n for n, point in enumerate(_points(driver, "configure"), 1) if point == "look"]

    problem = driver.operate("configure", Fault(looks[-1], "fail"))

    assert problem is None
    assert (driver.expected.state, driver.expected.rank) == ("released", 3)


def test_a_second_signal_right_after_the_intent_is_a_failure_of_the_verb(driver: Driver) -> None:
    driver.create()
    driver.operate("deploy")
    before = _points(driver, "configure").index("before configure")

    problem = driver.operate("configure", Fault(before, "sigint2"))

    assert isinstance(problem, InterruptedOperation)
    assert driver.expected.state == "configure_failed"
    assert driver.operate("deploy") is None


def test_the_lease_is_free_after_a_second_signal_at_the_very_end(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signalled(*_: object) -> list[str]:
        raise KeyboardInterrupt

    driver.create()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "prune", signalled)
        with pytest.raises(KeyboardInterrupt) as held:  # it keeps every frame alive
            driver.deployer.run_verb(NAME, "provision")

    assert driver.deployer.deploy(NAME).state == "running"
    del held


@pytest.mark.parametrize("verb", ["destroy", "run"])
def test_a_verb_that_waited_while_another_destroyed_finds_nothing(
    driver: Driver, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = session._lock

    def late(own: session.Session, name: str) -> object:
        monkeypatch.setattr(session, "_lock", real)
        driver.deployer.run_verb(NAME, "destroy")
        return real(own, name)

    driver.create()
    driver.deployer.deploy(NAME)
    monkeypatch.setattr(session, "_lock", late)

    if verb == "destroy":
        assert driver.deployer.run_verb(NAME, verb).state == "destroyed"
    else:
        with pytest.raises(NotFoundError):
            driver.deployer.run_verb(NAME, verb)

    assert [o.verb for o in driver.operations()][-1] == "destroy"
    assert driver.world.empty


def _points(driver: Driver, command: str) -> list[str]:
    """What an operation reaches, where nothing strikes."""
    driver.operate(command)
    return list(driver.world.points)
