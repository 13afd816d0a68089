"""plan: what `deploy` would do, verb by verb and step by step. Changes nothing."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from deployer.errors import DeployerError, InterruptedOperation, StepError
from deployer.lifecycle import planner
from deployer.lifecycle.engine import check_allowed, rehearse
from deployer.lifecycle.operation import recorded
from deployer.lifecycle.rehearsal import rehearsal, untouched
from deployer.preflight import static
from deployer.reading import not_found
from state.machine import RAISING, State

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.environment.load import Loaded
    from deployer.errors import Finding
    from deployer.lifecycle.session import Call, Session
    from deployer.lifecycle.steps import VerbRun
    from deployer.paths import Workspace
    from deployer.results import Change


@dataclass(frozen=True)
class PlannedStep:
    """A step of a verb, and what it would change as far as that can be told before."""

    name: str
    title: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class PlannedVerb:
    """What `deploy` would do with one verb.

    `outcome`: `change`, `no-change` (it runs and finds nothing to change), `skip`, `unknown` (it
    hangs on what an earlier verb makes) or `refused` (it would fail: `problem`). `reason` says
    why; `seconds` is how long it took when it last changed something.
    """

    verb: str
    outcome: str
    reason: str
    steps: tuple[PlannedStep, ...] = ()
    seconds: float | None = None
    problem: DeployerError | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As the JSON envelope shows it."""
        return {
            "verb": self.verb,
            "outcome": self.outcome,
            "reason": self.reason,
            "seconds": self.seconds,
            "steps": [
                {
                    "name": step.name,
                    "title": step.title,
                    "changes": [
                        {
                            "action": change.action,
                            "kind": change.kind,
                            "name": change.name,
                            "host": change.host,
                            "details": list(change.details),
                        }
                        for change in step.changes
                    ],
                }
                for step in self.steps
            ],
            "error": self.problem.to_dict() if self.problem else None,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class Plan:
    """What `deploy` would do with an environment. `gone`: what was recorded and is not there."""

    name: str
    state: str
    serving: list[int]
    verbs: list[PlannedVerb] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    """What the static gates found and let pass."""

    @property
    def changes(self) -> bool:
        """Whether something would be changed, or may be: not all can be told before."""
        return any(verb.outcome in ("change", "unknown", "refused") for verb in self.verbs)

    def to_dict(self) -> dict[str, Any]:
        """As the JSON envelope shows it."""
        return {
            "name": self.name,
            "state": self.state,
            "serving": self.serving,
            "changes": self.changes,
            "gone": self.gone,
            "warnings": [asdict(warning) for warning in self.warnings],
            "verbs": [verb.to_dict() for verb in self.verbs],
        }


def plan_deploy(workspace: Workspace, name: str, call: Call) -> Plan:
    """Rehearse `deploy` of an environment.

    Raises what `deploy` raises before it looks: `FileError`, `GateError` of the static gates,
    `NotAllowedError`. What only a look finds out is in the plan.
    """
    with rehearsal(workspace, name, "deploy", call) as session, ExitStack() as stack:
        record = session.record()
        if not record.exists:
            raise not_found(workspace, name)
        if record.state is State.DESTROY_FAILED:
            check_allowed("provision", record)
        loaded = session.loaded()
        warnings = static.check(session.workspace, loaded, hooks=not call.skip_hooks)
        if module := _own_module(workspace, loaded):
            stack.enter_context(untouched(module))
        found = Plan(name, record.state.value, record.serving, warnings=warnings)
        with recorded(session, f"Planning {name}"):
            silent: DeployerError | None = None
            try:
                found.gone.extend(planner.lowered(session, record)[1])
            except StepError as problem:
                silent = problem
            _plan_verbs(session, loaded, found.verbs, silent)
        return found


def _own_module(workspace: Workspace, loaded: Loaded) -> Path | None:
    if not loaded.provider.manifest.own_module:
        return None
    given: str = loaded.configuration.provider_options["module"]
    return (workspace.root / given).expanduser()


def _plan_verbs(
    session: Session, loaded: Loaded, found: list[PlannedVerb], silent: DeployerError | None
) -> None:
    """Plan each verb; `silent` is why nothing is known of the hosts, if so."""
    unknown = ""
    for verb in RAISING:
        record = session.record()
        seconds = session.store.last_seconds(record.id, verb)
        reason = unknown or planner.reason(session.workspace, record, loaded, verb)
        if silent and not unknown:
            found.append(PlannedVerb(verb, "refused", "a host doesn't answer", (), seconds, silent))
            unknown = "a host doesn't answer"
        elif reason is None:
            found.append(PlannedVerb(verb, "skip", "done before, and its input is the same"))
        elif unknown:
            found.append(PlannedVerb(verb, "unknown", unknown, (), seconds))
        else:
            if found and found[-1].outcome == "change":
                reason = f"it follows {found[-1].verb}"
            planned = _plan_verb(session, verb, reason, seconds)
            found.append(planned)
            unknown = _hides(planned)


def _plan_verb(session: Session, verb: str, reason: str, seconds: float | None) -> PlannedVerb:
    try:
        run = rehearse(session, verb)
    except InterruptedOperation:
        raise
    except DeployerError as problem:
        if problem.code == "INTERNAL":
            raise
        return PlannedVerb(verb, "refused", reason, (), seconds, problem)
    outcome = "change" if run.changed else "no-change"
    return PlannedVerb(verb, outcome, reason, _steps(run), seconds, None, tuple(run.warnings))


def _steps(run: VerbRun) -> tuple[PlannedStep, ...]:
    return tuple(PlannedStep(step.name, step.title, told.changes) for step, told in run.done)


def _hides(planned: PlannedVerb) -> str:
    """Why nothing can be told of the verbs after this one; empty where it can."""
    if planned.outcome == "refused":
        return f"{planned.verb} would fail before it"
    made = (change.kind for step in planned.steps for change in step.changes)
    return "its hosts are made or changed first" if "resource" in made else ""
