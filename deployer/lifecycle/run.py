"""run: every service up from the current release, and healthy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.apps.render import with_secrets
from deployer.lifecycle import hosts, ports
from deployer.lifecycle.play import play
from deployer.lifecycle.steps import Step, StepResult
from deployer.results import Change

if TYPE_CHECKING:
    from deployer.lifecycle.steps import StepRun, VerbRun
    from state.records import ReleaseRecord

URL_TIMEOUT = 5.0  # seconds


def prepare(run: VerbRun) -> list[Step]:
    """Start what is not up from the current release, wait until all of it is healthy."""
    number = run.record.inputs["release"]["number"]
    workspace, record = run.session.workspace, run.record
    release = run.session.store.release(record.id, number)
    asked = release.manifest.get("ports", {}) if release else {}
    secrets = _secrets(run, release)
    with run.looking("ports", "See whether ports are free") as step:
        numbers = sorted(asked.values())
        seen = hosts.inspect(workspace, record, check_health=False, by=run.session, ports=numbers)
        ports.check(workspace, record, asked, run.session, seen)
        named = ", ".join(map(str, numbers))
        free = f"port {named} is free" if len(asked) == 1 else f"ports {named} are free"
        step.result = StepResult(detail=free if asked else "no port is needed")
    run.serving = number
    run.intent = {"number": number}
    idle = not any(facts["processes"] for facts in seen.values())
    return [
        Step(
            "start",
            "Start services",
            lambda step: _start(step, number, idle, secrets),
            preview=lambda _: _preview(release, seen),
        ),
        Step("urls", "Open the URLs from here", _open_urls),
    ]


def _preview(release: ReleaseRecord | None, seen: dict[str, dict[str, Any]]) -> StepResult:
    """Which services are to be started, restarted or stopped, by what `seen` tells of them."""
    changes = []
    for host, told in (release.manifest["hosts"] if release else {}).items():
        there = dict(seen[host]["services"])
        for service in told["services"]:
            found = there.pop(service["name"], None)
            if not found or not found["up"]:
                changes.append(Change("start", "service", service["name"], host))
            elif release and found["release"] != release.number:
                changes.append(Change("restart", "service", service["name"], host))
        changes += [Change("stop", "service", name, host) for name in there if there[name]["up"]]
    return StepResult(changed=bool(changes), changes=tuple(changes))


def _secrets(run: VerbRun, release: ReleaseRecord | None) -> dict[str, dict[str, dict[str, str]]]:
    """Each host's secret variables, as the release wants them: {host: {service: variables}}.

    They are asked for anew where the release says: after a rollback, that is the older one.
    """
    if release is None:
        return {}
    values = run.session.secrets.values(release.manifest.get("secrets", {}))
    return {
        host: with_secrets(found["services"], values)
        for host, found in release.manifest["hosts"].items()
    }


def _start(
    step: StepRun, number: int, idle: bool, secrets: dict[str, dict[str, dict[str, str]]]
) -> StepResult:
    if idle:  # what was up before is not this verb's to stop
        step.undo_with("stop-services")
    policy = step.run.configuration.health
    return play(
        step,
        "run",
        # the waits end by themselves; the step's own time is for all that is around them
        timeout=step.timeout + 2 * policy.timeout,
        more=lambda host: {
            "number": number,
            "secrets": secrets.get(host.name, {}),
            "health": policy.model_dump(),
            "restart": step.run.options.get("restart"),
        },
    )


def _open_urls(step: StepRun) -> StepResult:
    release = step.run.session.store.release(step.run.record.id, step.run.serving or 0)
    urls = [
        url
        for host in (release.manifest["hosts"] if release else {}).values()
        for url in host["urls"]
        if url.startswith(("http://", "https://"))
    ]
    for url in urls:
        problem = _unreachable(url)
        if problem:
            step.progress(f"{url} can't be opened from here: {problem}", "warning")
        else:
            step.progress(f"{url} answers", "ok")
    return StepResult()


def _unreachable(url: str) -> str | None:
    from urllib.error import HTTPError
    from urllib.request import ProxyHandler, build_opener

    try:
        # straight there: a proxy would say what it thinks of the host, not what the host says
        build_opener(ProxyHandler({})).open(url, timeout=URL_TIMEOUT).close()
    except HTTPError as answer:
        return f"it answers {answer.code}"
    except (OSError, ValueError) as problem:
        return str(getattr(problem, "reason", problem))
    return None
