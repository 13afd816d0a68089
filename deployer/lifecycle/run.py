"""run: every service up from the current release, and healthy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.lifecycle import hosts, ports
from deployer.lifecycle.play import play
from deployer.lifecycle.steps import Step, StepResult

if TYPE_CHECKING:
    from deployer.lifecycle.steps import StepRun, VerbRun

URL_TIMEOUT = 5.0  # seconds


def prepare(run: VerbRun) -> list[Step]:
    """Start what is not up from the current release, wait until all of it is healthy."""
    number = run.record.inputs["release"]["number"]
    loaded = run.session.loaded()
    with run.looking("ports", "See whether ports are free") as step:
        checked = ports.check(run.session.workspace, run.record, loaded)
        named = ", ".join(map(str, checked))
        free = f"port {named} is free" if len(checked) == 1 else f"ports {named} are free"
        step.result = StepResult(detail=free if checked else "no port is needed")
    run.serving = number
    run.intent = {"number": number}
    seen = hosts.inspect(run.session.workspace, run.record, check_health=False)
    idle = not any(facts["processes"] for facts in seen.values())
    return [
        Step("start", "Start services", lambda step: _start(step, number, idle)),
        Step("urls", "Open the URLs from here", _open_urls),
    ]


def _start(step: StepRun, number: int, idle: bool) -> StepResult:
    if idle:  # what was up before is not this verb's to stop
        step.undo_with("stop-services")
    policy = step.run.configuration.health
    return play(
        step,
        "run",
        # the waits end by themselves; the step's own time is for all that is around them
        timeout=step.timeout + 2 * policy.timeout,
        more=lambda _: {"number": number, "health": policy.model_dump()},
    )


def _open_urls(step: StepRun) -> StepResult:
    release = step.run.session.store.release(step.run.record.id, step.run.serving or 0)
    urls = [
        url
        for host in (release.manifest["hosts"] if release else {}).values()
        for url in host["urls"]
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

    if not url.startswith(("http://", "https://")):
        return None
    try:
        # straight there: a proxy would say what it thinks of the host, not what the host says
        build_opener(ProxyHandler({})).open(url, timeout=URL_TIMEOUT).close()
    except HTTPError as answer:
        return f"it answers {answer.code}"
    except (OSError, ValueError) as problem:
        return str(getattr(problem, "reason", problem))
    return None
