"""provision: the hosts are there and can be used."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from deployer import events, providers
from deployer.errors import Code, Finding, GateError, StepError, UsageError
from deployer.lifecycle import hosts, infrastructure
from deployer.lifecycle.play import play
from deployer.lifecycle.reach import reach
from deployer.lifecycle.steps import Step, StepResult
from deployer.providers import hosts as contract
from deployer.results import Change
from deployer.tools import ssh
from state.records import HostRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from deployer.environment.load import Loaded
    from deployer.lifecycle.infrastructure import Infrastructure, Known
    from deployer.lifecycle.steps import StepRun, VerbRun
    from deployer.paths import Workspace
    from deployer.tools.terraform import Plan, ResourceReport
    from state.records import EnvironmentRecord


def inputs(workspace: Workspace, record: EnvironmentRecord, loaded: Loaded) -> dict[str, Any]:
    """What the hosts are made from."""
    return {
        "provider": loaded.configuration.provider,
        "version": loaded.provider.manifest.version,
        "module": infrastructure.digest(workspace, loaded.configuration, loaded.provider),
        "options": loaded.configuration.provider_options,
    }


def prepare(run: VerbRun) -> list[Step]:
    """Look at what is there; a plan that changes nothing leaves nothing to do."""
    session = run.session
    loaded = session.loaded()
    run.intent = inputs(session.workspace, run.record, loaded)
    _refuse_change(run, loaded)
    abandoned = set(run.options.get("abandon") or ())  # the history keeps the command line
    _refuse_abandoning(run, loaded, abandoned)
    missing = providers.unavailable(loaded.provider)
    if missing:
        raise GateError(missing, findings=[Finding("provider-unavailable", missing)])
    if loaded.provider.manifest.kind == "terraform":
        return _by_terraform(run)
    if loaded.provider.local:
        return _this_machine(run)
    return _by_hand(run, loaded, abandoned)


def _refuse_abandoning(run: VerbRun, loaded: Loaded, abandoned: set[str]) -> None:
    """Only a host of the user's own that was taken out of the list can be left behind."""
    options = loaded.configuration.provider_options
    leaving = (
        _leaving(run, {spec.name for spec in contract.parse(options["hosts"], {})})
        if "hosts" in loaded.provider.manifest.options
        else []
    )
    wrong = abandoned - {host.name for host in leaving}
    if wrong:
        known = ", ".join(host.name for host in leaving) or "none"
        raise UsageError(
            f"{', '.join(sorted(wrong))} was not taken out of provider_options.hosts",
            hint=f"Hosts that were: {known}.",
        )


def _refuse_change(run: VerbRun, loaded: Loaded) -> None:
    """What the hosts hang on can't change under them."""
    last = run.record.intents.get("provision")
    if not last or not run.record.hosts:
        return
    name = run.record.name
    changed = [("provider", last["provider"], run.intent["provider"])]
    if last["provider"] == run.intent["provider"]:
        changed += [
            (f"provider_options.{key}", last["options"].get(key), run.intent["options"].get(key))
            for key in loaded.provider.manifest.fixed
        ]
    findings = [
        Finding(
            "provider-changed",
            f"{key}: is {now!r}, was {before!r} when {name} was provisioned",
            file=str(run.session.workspace.environment_file(name)),
        )
        for key, before, now in changed
        if before != now
    ]
    if findings:
        raise GateError(
            "; ".join(finding.message for finding in findings),
            hint=f"Destroy it first: deployer destroy {name}",
            findings=findings,
        )


def _this_machine(run: VerbRun) -> list[Step]:
    """There is nothing to make."""
    workspace = run.session.workspace
    with run.looking("hosts", "This machine is the host (localhost)"):
        run.hosts = [
            HostRecord(
                name="localhost",
                connection=hosts.LOCAL,
                address="127.0.0.1",
                root=str(workspace.host_dir(run.record.name).relative_to(workspace.state_dir)),
            )
        ]
    return []


# ---- hosts that the user has


def _by_hand(run: VerbRun, loaded: Loaded, abandoned: set[str]) -> list[Step]:
    """Prove that the hosts can be used; nothing is changed on them."""
    found = _given(run, loaded)
    _forget_pins(run, found)
    with run.looking("reach", "Reach the hosts") as step:
        run.hosts = reach(step, found, wait=0)
    leaving = [
        host for host in _leaving(run, {host.name for host in found}) if host.name not in abandoned
    ]
    if not leaving:
        return []
    # nobody looks after them any more once they are left
    names = ", ".join(host.name for host in leaving)
    remaining = run.hosts
    run.hosts = None
    return [
        Step(
            "leave",
            f"Leave {names}",
            lambda step: _leave(step, leaving),
            preview=lambda _: _told(Change("remove", "host", host.name) for host in leaving),
        ),
        Step(
            "hosts",
            "Take note of the hosts",
            lambda step: _learn(step, remaining),
            # only a record, and a rehearsal has its own
            preview=lambda step: _learn(step, remaining),
        ),
    ]


def _told(changes: Iterable[Change]) -> StepResult:
    found = tuple(changes)
    return StepResult(changed=bool(found), changes=found)


def _leave(step: StepRun, leaving: Sequence[HostRecord]) -> StepResult:
    try:
        return play(step, "destroy", on=leaving)
    except StepError as problem:
        silent = [name for name in (problem.host or "").split(", ") if name]
        words = " ".join(f"--abandon {name}" for name in silent)
        problem.hint += (
            " Put that host back into the list until it answers; if it never will: "
            f"deployer provision {step.run.record.name} {words}"
        )
        raise


def _given(run: VerbRun, loaded: Loaded) -> list[HostRecord]:
    options = loaded.configuration.provider_options
    defaults = {key: options[key] for key in ("user", "port", "jump") if options.get(key)}
    return [
        hosts.of(
            spec,
            run.record.name,
            key=options.get("key"),
            jump=None,
            sudo_password=options.get("sudo_password"),
        )
        for spec in contract.parse(options["hosts"], defaults)
    ]


def _leaving(run: VerbRun, staying: set[str]) -> list[HostRecord]:
    return [host for host in run.record.hosts if host.name not in staying]


def _forget_pins(run: VerbRun, found: Sequence[HostRecord]) -> None:
    """Drop the pins of the machines that are others now, and of no more."""
    known = {host.name: host for host in run.record.hosts}
    replaced = {
        host.name for host in found if host.name not in known or _is_another(host, known[host.name])
    }
    ssh.forget(run.session.workspace.known_hosts(run.record.name), replaced)


def _is_another(host: HostRecord, before: HostRecord) -> bool:
    """Whether it is another machine; one that says who it is may move to another address."""
    if host.instance and before.instance:
        return host.instance != before.instance
    return (host.address, host.instance) != (before.address, before.instance)


def _learn(step: StepRun, found: Sequence[HostRecord]) -> StepResult:
    run = step.run
    run.record = run.session.store.set_hosts(run.record, found, token=run.session.token)
    names = ", ".join(f"{host.name} ({host.address})" for host in found)
    return StepResult(detail=f"{len(found)} host{'' if len(found) == 1 else 's'}: {names}")


# ---- hosts that a module makes


def _by_terraform(run: VerbRun) -> list[Step]:
    session = run.session
    found = infrastructure.of(session.workspace, run.record, run.configuration, session)
    assert found
    with run.looking("plan", "Plan the infrastructure") as step, found.readable():
        plan, known = _plan(found, step)
        count = len(plan.changes)
        said = f"{count} change{'' if count == 1 else 's'} to make" if plan.changed else "no change"
        step.result = StepResult(detail=f"infrastructure planned: {said}")
    wait = run.configuration.host_timeout
    if not plan.changed and "apply" not in session.store.checkpoint(run.record.id, "provision"):
        with run.looking("reach", "Reach the hosts") as step:
            records = found.records(found.specs(plan.outputs, known))
            _forget_pins(run, records)
            run.hosts = reach(step, records, wait=wait)
        return []
    steps = []
    leaving = _leaving(run, _planned_names(plan, run))
    if leaving:
        names = ", ".join(host.name for host in leaving)
        steps.append(
            Step("stop-leaving", f"Stop what runs on {names}", lambda s: _stop_leaving(s, leaving))
        )
    return [
        *steps,
        Step(
            "apply",
            "Make the machines",
            lambda step: _apply(step, found, plan),
            done=lambda: not plan.changed,
            preview=lambda _: _told(
                Change(change.action, "resource", found.named(change.address), None, change.details)
                for change in plan.changes
            ),
        ),
        Step("reach", "Reach the hosts", lambda step: _reach_new(step, found, wait)),
    ]


def _plan(found: Infrastructure, step: StepRun) -> tuple[Plan, Known]:
    """The plan, and which hosts the provider itself said at that moment that there are."""
    found.write_module()
    driver = found.terraform(lambda report: report_resource(step, found, report), step.timeout)
    if driver.init():
        step.progress("Terraform is initialised", "ok")
        driver.validate()
    # neither changes anything, and both take their time
    probed = _beside(found.probe)
    try:
        plan = driver.plan()
    except Exception:
        with suppress(Exception):  # an operation ends after all that it has started
            probed()
        raise
    known = probed()
    if "hosts" not in plan.outputs and "hosts" not in plan.unknown:
        found.specs(plan.outputs, known)  # says what is wrong, before anything is made
    if known is None:
        if "hosts" not in plan.unknown:
            found.specs(plan.outputs, known)
        return plan, known
    # the module takes them for made; the provider says that they are gone
    making = {change.address for change in plan.changes}
    gone = [
        address
        for host in plan.outputs.get("hosts") or []
        if host["name"] not in known
        and (address := f'{found.provider.manifest.resource}["{host["name"]}"]') not in making
    ]
    return (driver.plan(replace=gone) if gone else plan), known


def _beside(act: Callable[[], Known]) -> Callable[[], Known]:
    """Start `act` beside what follows; what this returns waits for it, and gives what it gave.

    Should this program have to end at once, it does not wait.
    """
    done: Future[Known] = Future()

    def work() -> None:
        try:
            done.set_result(act())
        except BaseException as problem:  # carried over to who waits
            done.set_exception(problem)

    threading.Thread(target=work, daemon=True).start()
    return done.result


def _planned_names(plan: Plan, run: VerbRun) -> set[str]:
    """The hosts that will be there, as far as the plan can tell."""
    planned = plan.outputs.get("hosts")
    names = [host.get("name") for host in planned] if isinstance(planned, list) else [None]
    known = {name for name in names if isinstance(name, str)}
    return known if len(known) == len(names) else {host.name for host in run.record.hosts}


def _stop_leaving(step: StepRun, leaving: Sequence[HostRecord]) -> StepResult:
    try:
        return play(step, "stop", on=leaving)
    except StepError as problem:
        # the provider removes them, whether they answer or not
        step.progress(f"{problem.message}; it is removed all the same", "warning", problem.host)
        return StepResult()


def _apply(step: StepRun, found: Infrastructure, plan: Plan) -> StepResult:
    run = step.run
    if not plan.changed:
        return StepResult(detail="machines are made already")
    if not run.record.hosts and run.record.rank == 0:
        step.undo_with("remove-machines")
    driver = found.terraform(lambda report: report_resource(step, found, report), step.timeout)
    with found.readable():
        driver.apply()
    records = found.records(found.specs(driver.outputs(), found.probe()))
    _forget_pins(run, records)
    _learn(step, records)
    names = ", ".join(f"{host.name} ({host.address})" for host in records)
    return StepResult(changed=True, detail=f"machines made: {names}")


def _reach_new(step: StepRun, found: Infrastructure, wait: float) -> StepResult:
    records = step.run.record.hosts
    if not records:
        raise StepError(f"{found.provider.manifest.name} made no host", code=Code.WRONG_HOSTS)
    _learn(step, reach(step, records, wait=wait))
    return StepResult()


def report_resource(step: StepRun, found: Infrastructure, report: ResourceReport) -> None:
    """Pass on what Terraform says of a resource, by the name that it has for people."""
    if report.outcome == "ok":
        return  # it was only looked at
    manifest = found.provider.manifest
    name = (report.resource or "").removeprefix(manifest.resource).strip('[]"')
    if report.action == "delete" and found.known is not None and name not in found.known:
        return  # only Terraform believed that it was there
    step.progress(found.named(report.title), report.outcome, None, report.seconds)
    kinds = {"create": events.ResourceCreated, "delete": events.ResourceDeleted}
    if report.action in kinds:
        run = step.run
        run.session.publish(
            kinds[report.action],
            run.operation_id,
            provider=run.configuration.provider,
            resource_type=report.kind or "resource",
            resource_id=report.id or report.resource or "",
        )
