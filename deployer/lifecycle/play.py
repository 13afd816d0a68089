"""A playbook as a step: run on every host, one error that names each host which failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.errors import StepError
from deployer.lifecycle import hosts
from deployer.lifecycle.steps import StepResult
from deployer.tools import ansible, process

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.lifecycle.steps import StepRun
    from state.records import HostRecord


def play(
    step: StepRun,
    playbook: str,
    *,
    timeout: float | None = None,
    more: Callable[[HostRecord], dict[str, Any]] = lambda _: {},
) -> StepResult:
    """Run a playbook on the environment's hosts.

    `more` gives what the action wants to know of a host besides. Every host is tried; raises
    `StepError` if one failed.
    """
    run = step.run
    session, record = run.session, run.record
    specs = {
        host.name: hosts.variables(
            host, hosts.spec(session.workspace, record, host, session.token, **more(host))
        )
        for host in record.hosts
    }
    results = ansible.run(
        ansible.Play(
            playbook=playbook,
            variables=specs,
            environment=process.child_environment(record.uuid, session.operation_id),
            uuid=record.uuid,
            timeout=timeout or step.timeout,
        ),
        step.report,
        session.interrupt,
    )
    outcomes = {
        name: "failed" if result.error else "changed" if result.changed else "ok"
        for name, result in results.items()
    }
    run.host_outcomes.update(outcomes)
    failed = [result.error for result in results.values() if result.error]
    if failed:
        raise failed[0] if len(failed) == 1 else _all(failed, len(results))
    return StepResult(changed=any(result.changed for result in results.values()), hosts=outcomes)


def _all(failed: list[StepError], tried: int) -> StepError:
    return StepError(
        f"{len(failed)} of {tried} hosts failed: "
        + "; ".join(f"{error.host}: {error.message}" for error in failed),
        code=failed[0].code,
        hint=failed[0].hint,
        host=", ".join(error.host or "" for error in failed),
        output=[f"{error.host}: {line}" for error in failed for line in error.output],
        transient=all(error.transient for error in failed),
    )
