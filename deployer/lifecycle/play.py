"""A playbook as a step: run on every host, one error that names each host which failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.errors import Code, StepError, hosts_error
from deployer.lifecycle import hosts
from deployer.lifecycle.steps import StepResult
from deployer.tools import ansible, process, ssh, ssh_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployer.lifecycle.steps import StepRun
    from deployer.paths import Workspace
    from deployer.tools.ansible import HostResult
    from state.records import EnvironmentRecord, HostRecord


def play(
    step: StepRun,
    playbook: str,
    *,
    timeout: float | None = None,
    on: Sequence[HostRecord] | None = None,
    more: Callable[[HostRecord], dict[str, Any]] = lambda _: {},
) -> StepResult:
    """Run a playbook on the environment's hosts, or `on` some of them.

    `more` gives what the action wants to know of a host besides. Every host is tried; raises
    `StepError` if one failed.
    """
    results = _run(step, playbook, timeout, on, more, check=False)
    outcomes = {
        name: "failed" if result.error else "changed" if result.changed else "ok"
        for name, result in results.items()
    }
    step.run.host_outcomes.update(outcomes)
    _refuse_failed(results)
    return StepResult(changed=any(result.changed for result in results.values()), hosts=outcomes)


def check(
    step: StepRun, playbook: str, *, more: Callable[[HostRecord], dict[str, Any]] = lambda _: {}
) -> dict[str, dict[str, Any]]:
    """Run a playbook in Ansible's check mode, which changes nothing.

    Returns what its first task tells of each host. Raises `StepError` as `play` does.
    """
    results = _run(step, playbook, None, None, more, check=True)
    _refuse_failed(results)
    return {name: result.results[0] for name, result in results.items()}


def _refuse_failed(results: dict[str, HostResult]) -> None:
    failed = [result.error for result in results.values() if result.error]
    if failed:
        raise hosts_error(failed, len(results))


def _run(
    step: StepRun,
    playbook: str,
    timeout: float | None,
    on: Sequence[HostRecord] | None,
    more: Callable[[HostRecord], dict[str, Any]],
    *,
    check: bool,
) -> dict[str, HostResult]:
    run = step.run
    session, record = run.session, run.record
    specs = {
        host.name: hosts.variables(
            session.workspace,
            record,
            host,
            hosts.spec(session.workspace, record, host, session.token, **more(host)),
            # after destroy no provision may come to learn a key whose pin was forgotten
            first=run.verb == "destroy",
        )
        for host in (record.hosts if on is None else on)
    }
    results = ansible.run(
        ansible.Play(
            playbook=playbook,
            variables=specs,
            environment=process.child_environment(record.uuid, session.operation_id),
            uuid=record.uuid,
            timeout=timeout or step.timeout,
            check=check,
        ),
        step.report,
        session.interrupt,
    )
    for host in record.hosts if on is None else on:
        error = results[host.name].error
        if error and error.code is Code.HOST_UNREACHABLE and host.connection != hosts.LOCAL:
            results[host.name].error = _told_apart(session.workspace, record, host, error)
    return results


def _told_apart(
    workspace: Workspace, record: EnvironmentRecord, host: HostRecord, error: StepError
) -> StepError:
    """Why Ansible could not reach a host, as our own connections tell it."""
    said = ssh.Done(ssh.FAILED, b"", "\n".join([error.message, *error.output]).encode())
    found = ssh_problem.problem(hosts.login(workspace, record, host), said)
    found.transient = found.transient and error.transient
    return found
