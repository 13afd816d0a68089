"""The table, sentence by sentence."""

from __future__ import annotations

import pytest

from state import machine
from state.machine import Position as P
from state.machine import State

CREATED, PROVISIONED, CONFIGURED, RELEASED, RUNNING = (P.of(state) for state in machine.BASE)
SETTLED = [P.of(state) for state in machine.SETTLED]
EXISTING = [p for p in SETTLED if p.state is not State.DESTROYED]
RANKED = [p for p in EXISTING if p.rank >= 0]


@pytest.mark.parametrize(
    ("verb", "acting", "success", "failure"),
    [
        ("provision", ("provisioning", 0), ("provisioned", 1), ("provision_failed", 0)),
        ("configure", ("configuring", 1), ("configured", 2), ("configure_failed", 1)),
        ("release", ("releasing", 2), ("released", 3), ("release_failed", 2)),
        ("run", ("starting", 3), ("running", 4), ("run_failed", 3)),
        ("clear", ("clearing", 2), ("configured", 2), ("configured", 2)),
        ("destroy", ("destroying", -1), ("destroyed", -1), ("destroy_failed", -1)),
    ],
)
def test_a_verb_acts_succeeds_and_fails_with_its_own_state_and_rank(
    verb: str, acting: tuple[str, int], success: tuple[str, int], failure: tuple[str, int]
) -> None:
    origin = RUNNING

    assert _pair(machine.begin(origin, verb)) == acting
    assert _pair(machine.succeed(origin, verb, changed=True)) == success
    assert _pair(machine.fail(origin, verb)) == failure


@pytest.mark.parametrize(
    ("verb", "least"),
    [("provision", 0), ("configure", 1), ("release", 2), ("run", 3), ("clear", 2)],
)
def test_a_verb_needs_its_rank_whatever_the_state_is_called(verb: str, least: int) -> None:
    able = {p.state for p in SETTLED if machine.allowed(verb, p)}

    assert able == {p.state for p in RANKED if p.rank >= least}


def test_create_needs_that_there_is_nothing() -> None:
    able = {p.state for p in [P.of(State.ABSENT), *SETTLED] if machine.allowed("create", p)}

    assert able == {State.ABSENT, State.DESTROYED}


def test_destroy_is_allowed_in_every_state_but_absent() -> None:
    assert all(machine.allowed("destroy", p) for p in SETTLED)
    assert not machine.allowed("destroy", P.of(State.ABSENT))


def test_stop_is_allowed_wherever_an_environment_exists() -> None:
    assert all(machine.allowed("stop", p) for p in EXISTING)
    assert not machine.allowed("stop", P.of(State.DESTROYED))


def test_after_a_failed_destroy_only_destroy_and_stop_are_allowed() -> None:
    assert machine.allowed_verbs(P.of(State.DESTROY_FAILED)) == ["stop", "destroy"]


def test_clear_is_refused_while_anything_may_be_up() -> None:
    assert machine.allowed("clear", RELEASED)
    assert not machine.allowed("clear", RELEASED, serving=True)
    assert machine.missing_verb("clear", RELEASED, serving=True) == "stop"


@pytest.mark.parametrize("origin", RANKED, ids=lambda p: p.state)
def test_stop_makes_running_released_and_keeps_every_other_state(origin: P) -> None:
    expected = RELEASED if origin == RUNNING else origin

    assert _pair(machine.begin(origin, "stop")) == ("stopping", min(origin.rank, 3))
    assert machine.succeed(origin, "stop", changed=True) == expected
    assert machine.fail(origin, "stop") == expected


def test_stop_after_a_failed_destroy_leaves_it_failed() -> None:
    origin = P.of(State.DESTROY_FAILED)

    assert machine.succeed(origin, "stop", changed=True) == origin
    assert machine.fail(origin, "stop") == origin


@pytest.mark.parametrize("origin", RANKED, ids=lambda p: p.state)
@pytest.mark.parametrize("verb", ["provision", "configure", "release"])
def test_a_verb_that_changed_nothing_gives_back_a_state_at_or_above_its_own(
    verb: str, origin: P
) -> None:
    own = P.of(machine.BASE[machine.success_rank(verb)])

    after = machine.succeed(origin, verb, changed=False, healthy=True)

    assert after == (origin if origin.rank >= own.rank else own)


@pytest.mark.parametrize("verb", ["provision", "configure", "release"])
def test_running_is_given_back_only_if_a_closing_look_confirms_it(verb: str) -> None:
    assert machine.succeed(RUNNING, verb, changed=False, healthy=True) == RUNNING
    assert machine.succeed(RUNNING, verb, changed=False, healthy=False) == RELEASED


@pytest.mark.parametrize("origin", RANKED, ids=lambda p: p.state)
@pytest.mark.parametrize("verb", machine.VERBS)
def test_only_a_verbs_own_success_raises_the_rank(verb: str, origin: P) -> None:
    if not machine.allowed(verb, origin):
        return

    assert machine.begin(origin, verb).rank <= origin.rank
    assert machine.fail(origin, verb).rank <= origin.rank
    for changed in (True, False):
        after = machine.succeed(origin, verb, changed=changed, healthy=True)
        risen = verb in machine.RAISING and after == P.of(machine.BASE[machine.success_rank(verb)])
        assert after.rank <= origin.rank or risen


@pytest.mark.parametrize("supported", range(5))
@pytest.mark.parametrize("position", RANKED, ids=lambda p: p.state)
def test_a_look_lowers_to_what_is_there_and_never_raises(position: P, supported: int) -> None:
    lowered = machine.lower(position, supported)

    assert lowered == (position if position.rank <= supported else P.of(machine.BASE[supported]))


@pytest.mark.parametrize(
    ("verb", "position", "first"),
    [
        ("run", CREATED, "provision"),
        ("run", PROVISIONED, "configure"),
        ("run", CONFIGURED, "release"),
        ("release", P.of(State.PROVISION_FAILED), "provision"),
        ("run", P.of(State.DESTROYED), "create"),
        ("run", P.of(State.DESTROY_FAILED), "destroy"),
    ],
)
def test_the_verb_to_run_first_is_named(verb: str, position: P, first: str) -> None:
    assert machine.missing_verb(verb, position) == first


def test_the_machine_takes_every_edge_of_the_table_and_no_other() -> None:
    known = {(edge.source, edge.trigger, edge.dest) for edge in machine.edges()}
    triggers = {trigger for _, trigger, _ in known}

    for source, trigger, dest in sorted(known):
        machine.move(source, trigger, dest)
    for source in State:
        for trigger in sorted(triggers):
            if (source, trigger, State.RUNNING) not in known:
                with pytest.raises(machine.ForbiddenMove):
                    machine.move(source, trigger, State.RUNNING)


def _pair(position: P) -> tuple[str, int]:
    return position.state.value, position.rank
