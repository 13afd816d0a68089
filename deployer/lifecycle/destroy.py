"""destroy: nothing of the environment left but its history and the user's file."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from deployer import events
from deployer.errors import Code, StepError, UsageError
from deployer.lifecycle import hosts, infrastructure
from deployer.lifecycle.play import play
from deployer.lifecycle.provision import report_resource
from deployer.lifecycle.steps import Step, StepResult
from deployer.tools import terraform

if TYPE_CHECKING:
    from deployer.lifecycle.infrastructure import Infrastructure
    from deployer.lifecycle.steps import StepRun, VerbRun


def prepare(run: VerbRun) -> list[Step]:
    """Machines where a module made them, else services and folders; then what is kept here."""
    forget = Step("forget", "Remove local files", _forget)
    abandoned = _abandoned(run)
    machines = infrastructure.recorded(run.session.workspace, run.record, run.session)
    if machines is not None:
        if abandoned:
            raise UsageError(
                "--abandon is for hosts of your own; these are removed whether they answer or not",
                hint=f"Leave it out: deployer destroy {run.record.name}",
            )
        if terraform.find() is None:
            raise StepError(terraform.missing(), code=Code.TOOL_MISSING)
        return [Step("machines", "Remove the machines", lambda s: remove(s, machines)), forget]
    staying = [host for host in run.record.hosts if host.name not in abandoned]
    if not staying:
        return [forget]
    return [
        Step(
            "remove",
            "Remove the application and its data",
            lambda step: _remove(step, abandoned),
            done=lambda: not abandoned and _is_removed(run),
        ),
        forget,
    ]


def _abandoned(run: VerbRun) -> set[str]:
    """The hosts that won't be heard of any more, as the caller says; recorded with the intent."""
    wanted = set(run.options.get("abandon") or ())
    unknown = wanted - {host.name for host in run.record.hosts}
    if unknown:
        known = ", ".join(host.name for host in run.record.hosts) or "none"
        raise UsageError(
            f"{run.record.name} has no host {', '.join(sorted(unknown))}",
            hint=f"Its hosts: {known}.",
        )
    if wanted:
        run.intent = {"abandoned": sorted(wanted)}
    return wanted


def _is_removed(run: VerbRun) -> bool:
    workspace = run.session.workspace
    seen = hosts.inspect(workspace, run.record, check_health=False, by=run.session)
    return not any(facts["there"] or facts["processes"] for facts in seen.values())


def _remove(step: StepRun, abandoned: set[str]) -> StepResult:
    run = step.run
    reached = [host for host in run.record.hosts if host.name not in abandoned]
    for name in sorted(abandoned):
        step.progress("abandoned: what is left there is not removed", "warning", name)
    try:
        result = play(step, "destroy", on=reached)
    except StepError as problem:
        silent = [name for name in (problem.host or "").split(", ") if name]
        if silent and any(host.connection != hosts.LOCAL for host in reached):
            words = " ".join(f"--abandon {name}" for name in silent)
            problem.hint += f" If that host will never answer again: add {words}."
        raise
    for host in reached:
        run.session.publish(
            events.ResourceDeleted,
            run.operation_id,
            provider=run.configuration.provider,
            resource_type="root",
            resource_id=f"{host.name}:{hosts.root(run.session.workspace, host)}",
        )
    return result


def remove(step: StepRun, machines: Infrastructure) -> StepResult:
    """Remove all machines, also those that no state knows; prove it by the provider's own word."""
    driver = machines.terraform(
        lambda report: report_resource(step, machines, report), step.timeout
    )
    machines.probe()
    if machines.folder.is_dir():
        with machines.readable():
            driver.init()
            driver.destroy()
    unknown = machines.probe()
    machines.sweep()
    left = machines.probe()
    noun = machines.provider.manifest.noun
    for name in sorted((unknown or {}).keys() - (left or {}).keys()):
        step.progress(f"{noun} {name} deleted; Terraform didn't know it", "changed")
    if left:
        raise StepError(
            f"{', '.join(sorted(left))} still there, though everything was removed",
            hint="Call destroy again; if that doesn't help, remove them by hand.",
        )
    proven = "; the provider has none of them any more" if left is not None else ""
    return StepResult(changed=True, detail=f"machines removed{proven}")


def _forget(step: StepRun) -> StepResult:
    workspace, record = step.run.session.workspace, step.run.record
    for folder in (workspace.build_dir(record.name), workspace.host_dir(record.name)):
        shutil.rmtree(folder, ignore_errors=True)
    hosts.forget(workspace, record)
    return StepResult(changed=True, detail="local files removed")
