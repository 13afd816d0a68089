"""The firewall of hosts: opened for SSH and the app's ports, and confirmed from outside."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from deployer.lifecycle import hosts, remote
from deployer.lifecycle.ports import wanted
from deployer.lifecycle.steps import Step, StepResult
from deployer.paths import private_dir
from deployer.results import Change

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.environment.load import Loaded
    from deployer.lifecycle.steps import StepRun, VerbRun

PACKAGE = "nftables"


def ports(loaded: Loaded) -> list[int] | None:
    """The ports to open; None where no firewall is wanted."""
    return sorted(wanted(loaded).values()) if loaded.configuration.firewall else None


def steps(run: VerbRun) -> list[Step]:
    """What `configure` does about it; nothing where it is neither wanted nor was."""
    last = run.record.inputs.get("configure", {}).get("open")
    asked = ports(run.session.loaded())
    if asked is None and last is None:
        return []
    title = "Open the app's ports, close all others" if asked is not None else "Open all ports"

    def preview(_: StepRun) -> StepResult:
        changes = (Change("change", "firewall", title),) if asked != last else ()
        return StepResult(changed=bool(changes), changes=changes)

    return [Step("firewall", title, lambda step: _apply(step, asked), preview=preview)]


def _apply(step: StepRun, asked: list[int] | None) -> StepResult:
    answers = _call(step, "firewall", asked, fresh=False)
    changed = {name for name, answer in answers.items() if answer["changed"]}
    if changed:
        # under the new rules, by a connection that is not open already
        _call(step, "firewall_confirm", asked, fresh=True, only=changed)
        shutil.rmtree(_apart(step.run.record.uuid), ignore_errors=True)
    if asked is None:
        return StepResult(changed=bool(changed), detail="all ports are open")
    shown = ", ".join(["SSH", *map(str, asked)])
    return StepResult(changed=bool(changed), detail=f"open are {shown}, and nothing else")


def _apart(uuid: str) -> Path:
    """Where no open connection is found."""
    return private_dir("ssh", f"{uuid[:12]}-new")


def _call(
    step: StepRun,
    action: str,
    asked: list[int] | None,
    *,
    fresh: bool,
    only: set[str] | None = None,
) -> dict[str, dict[str, object]]:
    run = step.run
    session, record = run.session, run.record
    calls = {}
    for host in record.hosts:
        if only is not None and host.name not in only:
            continue
        way = hosts.login(session.workspace, record, host)
        if fresh:
            way = replace(way, control=_apart(record.uuid))
        spec = hosts.spec(
            session.workspace, record, host, session.token, open=asked, ssh_port=way.port
        )
        calls[host.name] = remote.Call(way, spec["python"], {"action": action, "spec": spec})
    return remote.call(calls, uuid=record.uuid, by=None if fresh else session)
