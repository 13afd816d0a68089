"""destroy: nothing of the environment left but its history and the user's file."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from deployer import events
from deployer.lifecycle import hosts
from deployer.lifecycle.play import play
from deployer.lifecycle.steps import Step, StepResult

if TYPE_CHECKING:
    from deployer.lifecycle.steps import StepRun, VerbRun


def prepare(run: VerbRun) -> list[Step]:
    """Services and folders on hosts first, then what this workspace keeps of them."""
    steps = [Step("forget", "Remove local files", _forget)]
    if run.record.hosts:
        steps.insert(
            0,
            Step(
                "remove",
                "Remove the application and its data",
                _remove,
                done=lambda: _is_removed(run),
            ),
        )
    return steps


def _is_removed(run: VerbRun) -> bool:
    workspace = run.session.workspace
    seen = hosts.inspect(workspace, run.record, check_health=False)
    return not any(facts["there"] or facts["processes"] for facts in seen.values())


def _remove(step: StepRun) -> StepResult:
    result = play(step, "destroy")
    run = step.run
    for host in run.record.hosts:
        run.session.publish(
            events.ResourceDeleted,
            run.operation_id,
            provider=run.configuration.provider,
            resource_type="root",
            resource_id=f"{host.name}:{hosts.root(run.session.workspace, host)}",
        )
    return result


def _forget(step: StepRun) -> StepResult:
    workspace, record = step.run.session.workspace, step.run.record
    for folder in (workspace.build_dir(record.name), workspace.host_dir(record.name)):
        shutil.rmtree(folder, ignore_errors=True)
    hosts.forget(workspace, record)
    return StepResult(changed=True, detail="local files removed")
