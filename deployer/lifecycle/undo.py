"""Undo: what a failing verb has made is taken away again, where that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.errors import DeployerError
from deployer.lifecycle import destroy, infrastructure
from deployer.lifecycle.play import play
from deployer.lifecycle.steps import Step, StepResult, StepRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.lifecycle.steps import VerbRun
    from state.records import UndoRecord


def _withdraw(step: StepRun, arguments: dict[str, Any]) -> StepResult:
    """Take a release away and give `current` back to the one before, where there was one."""
    before = arguments["before"]
    return play(
        step,
        "withdraw",
        more=lambda host: {"number": arguments["number"], "before": before.get(host.name)},
    )


def _stop(step: StepRun, arguments: dict[str, Any]) -> StepResult:
    return play(step, "stop")


def _remove(step: StepRun, arguments: dict[str, Any]) -> StepResult:
    return play(step, "destroy")


def _remove_machines(step: StepRun, arguments: dict[str, Any]) -> StepResult:
    run = step.run
    machines = infrastructure.recorded(run.session.workspace, run.record, run.session)
    assert machines
    result = destroy.remove(step, machines)
    run.record = run.session.store.set_hosts(run.record, [], token=run.session.token)
    return result


KINDS: dict[str, tuple[str, Callable[[StepRun, dict[str, Any]], StepResult]]] = {
    "withdraw-release": ("Take the new release away", _withdraw),
    "stop-services": ("Stop the services that were started", _stop),
    "remove-machines": ("Remove the machines that were made", _remove_machines),
    "remove-root": ("Remove the root folder that was made", _remove),
}
"""Every kind of undo: its title, and what it does with the arguments that were registered."""


def undo(run: VerbRun) -> None:
    """Undo what this execution of a verb registered, newest first.

    Goes on after one undo fails; each is reported and recorded as a step of the verb.
    """
    for record in run.session.store.undos(run.operation_id):
        outcome = "done"
        try:
            StepRun(run, _step(record)).act(started=False)
        except DeployerError:
            outcome = "failed"  # reported as the step's failure; the others are tried all the same
        run.session.store.close_undo(run.session.name, run.session.token, record.id, outcome)


def _step(record: UndoRecord) -> Step:
    title, act = KINDS[record.kind]
    return Step(f"undo-{record.kind}", title, lambda step: act(step, record.arguments))
