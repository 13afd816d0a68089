"""Hooks: programs of the operator's and of the application's, as steps around those of a verb."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from deployer.errors import Code, StepError
from deployer.lifecycle import hosts, remote
from deployer.lifecycle.steps import Step, StepResult, StepRun
from deployer.tools import process
from deployer.tools.host_code import host_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.lifecycle.steps import VerbRun
    from state.records import HostRecord, ReleaseRecord

ANSWER = 30.0  # seconds more than its hook's that a host gets to answer

FACTS = {
    "environment": "its name",
    "state": "its state, such as `releasing`",
    "verb": "the verb that acts",
    "when": "`before` or `after`",
    "operation": "the id of the operation, as in `history`",
    "release": "the current release, {number, version}; null where there is none",
    "next_release": "before and after `release`: the one that it puts in place; else null",
    "app": "`app` of the environment file",
    "provider": "the provider",
    "runtime": "the runtime",
    "hosts": "every host as it is known: {name, address, port, user, groups}",
    "urls": "where a person finds the current release",
    "settings": "the app's settings, secrets left out",
    "workspace": "the path of the workspace; null on a host",
    "host": "the name of the host that the hook runs on; null where deployer runs",
}
"""What a hook can read on stdin, one JSON object: key → meaning."""

VARIABLES = {
    "DEPLOYER_ENVIRONMENT": ("both", "`environment`"),
    "DEPLOYER_VERB": ("both", "`verb`"),
    "DEPLOYER_WHEN": ("both", "`when`"),
    "DEPLOYER_OPERATION": ("both", "`operation`"),
    "DEPLOYER_RELEASE": ("both", "the number of `release`, empty where there is none"),
    "DEPLOYER_NEXT_RELEASE": ("both", "the number of `next_release`, or empty"),
    "DEPLOYER_WORKSPACE": ("here", "`workspace`, so that `deployer` needs no `-C`"),
    "DEPLOYER_HOST": ("hosts", "`host`"),
    "DEPLOYER_SHARED": ("hosts", "the folder of data that outlives releases"),
}
"""The variables that a hook gets: name → where it is set, and its meaning."""


def around(run: VerbRun, steps: list[Step]) -> list[Step]:
    """The steps of a verb that acts, with its hooks before and after them."""
    before = [*_here(run, "before"), *_there(run, "before")]
    after = [*_there(run, "after"), *_here(run, "after")]
    if run.session.call.skip_hooks:
        for step in (*before, *after):
            StepRun(run, step).skip("hooks are left out")
        return steps
    return [*before, *steps, *after]


def _here(run: VerbRun, when: str) -> Iterator[Step]:
    """The operator's hook, if the environment has one."""
    name = f"{when}_{run.verb}"
    words = run.configuration.hooks.get(name)
    if words:
        act = partial(_run_here, when=when, words=words)
        yield Step(name, f"Hook {name}", act, optional=when == "after")


def _there(run: VerbRun, when: str) -> Iterator[Step]:
    """The application's hook, if a release that may be current then has one."""
    name = f"{when}_{run.verb}"
    on = [h for h in run.record.hosts if h.name not in run.options.get("abandon", ())]
    if on and any(name in one.manifest.get("hooks", ()) for one in _current(run, when)):
        act = partial(_run_there, when=when, on=on)
        yield Step(f"app-{name}", f"Hook {name} of the app", act, optional=when == "after")


def _current(run: VerbRun, when: str) -> list[ReleaseRecord]:
    """The releases that may be current: on some hosts one that failed may be."""
    if run.release is not None and when == "after":
        return [run.release]
    known = (run.record.inputs, run.record.intents)
    numbers = {found.get("release", {}).get("number") for found in known}
    return [
        one
        for one in run.session.store.releases(run.record.id)
        if one.number in numbers and one.status not in ("cleared", "pruned")
    ]


def _run_here(step: StepRun, *, when: str, words: list[str]) -> StepResult:
    run, session = step.run, step.run.session
    commands = host_code("commands")
    problem = host_code("problem").HostProblem
    facts = _facts(run, when) | {"workspace": str(session.workspace.root)}
    # it is the operator's own program: it gets what the operator's shell would give it
    own = {**os.environ, "PATH": process.interpreter_path()}
    with _explained(run, words[0]):
        try:
            commands.run(
                {"uuid": run.record.uuid, "token": session.token, "variables": own},
                [os.path.join(".", words[0]), *words[1:]],  # noqa: PTH118 - Path drops the "."
                str(session.workspace.root),
                {**_variables(run, facts), "DEPLOYER_WORKSPACE": facts["workspace"]},
                step.timeout,
                lambda line: step.progress(line, "output"),
                stdin=json.dumps(facts) + "\n",
                check=session.interrupt.check,
            )
        except problem as found:
            raise StepError(found.message, code=Code(found.code), output=found.output) from found
    return StepResult()


def _run_there(step: StepRun, *, when: str, on: list[HostRecord]) -> StepResult:
    run, session = step.run, step.run.session
    facts = _facts(run, when)
    request = {
        "action": "hook",
        "hook": f"{when}_{run.verb}",
        "facts": facts,
        "variables": _variables(run, facts),
        "timeout": step.timeout,
    }
    with _explained(run, f"the app's {request['hook']}"):
        answers = remote.call(
            {host.name: _call(run, host, request) for host in on},
            uuid=run.record.uuid,
            by=session,
            timeout=step.timeout + ANSWER,
            told=lambda host, said: step.progress(host=host, **said),
        )
    if not any(answer["release"] for answer in answers.values()):
        return StepResult(detail=f"{step.step.title}: no host has a release with it")
    return StepResult()


def _call(run: VerbRun, host: HostRecord, request: dict[str, Any]) -> remote.Call:
    session = run.session
    spec = hosts.spec(session.workspace, run.record, host, session.token)
    local = host.connection == hosts.LOCAL
    login = None if local else hosts.login(session.workspace, run.record, host)
    return remote.Call(login, spec["python"], {**request, "spec": spec}, held=True)


@contextmanager
def _explained(run: VerbRun, program: str) -> Iterator[None]:
    """Say in a failure how to go on. A hook is not repeated by itself: it is not ours."""
    try:
        yield
    except StepError as problem:
        problem.transient = False
        resume = run.session.call.resume or "call it"
        way = f"Mend or put back {program}, or go on without hooks: {resume} --skip-hooks"
        problem.hint = f"{problem.hint} {way}".strip()
        raise


def _facts(run: VerbRun, when: str) -> dict[str, Any]:
    config, store = run.configuration, run.session.store
    following = run.release if run.verb == "release" else None
    present: ReleaseRecord | None
    if when == "after" and run.verb in ("clear", "destroy"):
        present = None
    elif when == "after" and following:
        present = following
    else:
        number = run.record.inputs.get("release", {}).get("number")
        present = store.release(run.record.id, number) if number else None
    seen = present.manifest["hosts"].values() if present else ()
    return {
        "environment": run.record.name,
        "state": run.record.state.value,
        "verb": run.verb,
        "when": when,
        "operation": run.session.operation_id,
        "release": _release(present),
        "next_release": _release(following),
        "app": config.app,
        "provider": config.provider,
        "runtime": config.runtime,
        "hosts": [
            {
                "name": host.name,
                "address": host.address,
                "port": host.port,
                "user": host.user,
                "groups": list(host.groups),
            }
            for host in run.record.hosts
        ],
        "urls": [url for host in seen for url in host["urls"]],
        # a reference to a secret is a table
        "settings": {k: v for k, v in config.settings.items() if not isinstance(v, dict)},
        "workspace": None,
        "host": None,
    }


def _release(found: ReleaseRecord | None) -> dict[str, Any] | None:
    return {"number": found.number, "version": found.app_version} if found else None


def _variables(run: VerbRun, facts: dict[str, Any]) -> dict[str, str]:
    """What hooks get everywhere; by the last two a later operation finds what one left behind."""

    def number(release: dict[str, Any] | None) -> str:
        return str(release["number"]) if release else ""

    return {
        "DEPLOYER_ENVIRONMENT": facts["environment"],
        "DEPLOYER_VERB": facts["verb"],
        "DEPLOYER_WHEN": facts["when"],
        "DEPLOYER_OPERATION": facts["operation"],
        "DEPLOYER_RELEASE": number(facts["release"]),
        "DEPLOYER_NEXT_RELEASE": number(facts["next_release"]),
        process.ENVIRONMENT_VARIABLE: run.record.uuid,
        process.OPERATION_VARIABLE: run.session.operation_id,
    }
