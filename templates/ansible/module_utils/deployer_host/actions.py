"""What Ansible's module does on a host, by name; and the look, which changes nothing."""

import base64
import json
import os
import time

from . import (
    checks,
    fence,
    firewall,
    health,
    listeners,
    outage,
    packages,
    place,
    procs,
    releases,
    runtimes,
    secrets,
    survey,
    users,
)
from .problem import HostProblem

FIRST_WAIT = 3.0  # seconds that a service which was up already gets before it is restarted


def perform(action, spec, dry=False):
    """Perform `action` with the encoded `spec`. Returns (succeeded, result for Ansible)."""
    spec = decode(spec)
    os.umask(0o022)
    try:
        if dry and action not in DRY:
            return True, {"changed": False, "skipped": True}
        if dry:  # looks only: it neither needs the fence nor leaves a trace there
            result = ACTIONS[action](spec, dry)
        else:
            with fence.held(spec, action):
                result = ACTIONS[action](spec, dry)
        return True, dict({"changed": False}, **result)
    except HostProblem as problem:
        return False, problem.answer()
    except OSError as error:
        return False, HostProblem.of(error).answer()


def decode(spec):
    """The value of an encoded spec."""
    return json.loads(base64.b64decode(spec))


def _prepare(spec, dry):
    """Prepare, if no package is missing; else say which, for Ansible to install."""
    place.check_owner(spec, missing_ok=True)
    packages.check(spec)
    missing = survey.missing_packages(spec) if spec.get("user") else []
    absent = survey.absent(spec.get("app_packages"))
    if not missing:
        return dict(_prepare_anyway(spec, dry), missing=[], absent=absent)
    summary = "missing: %s" % ", ".join(missing)
    return {"changed": dry, "missing": missing, "absent": absent, "summary": summary}


def _prepare_anyway(spec, dry):
    place.check_owner(spec, missing_ok=True)
    made = ["the user %s" % spec["user"]] if users.ensure(spec, dry) else []
    ids = None if dry and made else users.ids(spec)
    if place.prepare(spec, ids, dry):
        made.append("the folder %s" % spec["root"])
    if runtimes.install(spec, dry):
        made.append("what the runtime %s needs" % spec["runtime"])
    changed = bool(made)
    absent = survey.absent(spec.get("app_packages"))
    if dry:
        changed = changed or bool(absent)
    elif absent:
        packages.before(spec)
    else:
        changed = packages.settle(spec) or changed
    warnings = [{"title": text, "outcome": "warning"} for text in runtimes.warnings(spec)]
    summary = "%s is prepared" % spec["host"]
    return {"changed": changed, "made": made, "summary": summary, "substeps": warnings}


def _settle(spec, dry):
    place.check_owner(spec)
    absent = survey.absent(spec.get("app_packages"))
    if absent:
        raise HostProblem(
            "HOST_FAILED",
            "%s is not installed, although apt reported no failure" % ", ".join(absent),
        )
    changed = packages.settle(spec)
    names = ", ".join(spec["app_packages"])
    return {"changed": changed, "summary": "%s installed, their own services off" % names}


def _release(spec, dry):
    number = spec["release"]["number"]
    if dry:
        return releases.compare(spec)
    changed = releases.install(spec)
    if spec["bundle"].startswith(place.path(spec, "")):
        place.discard(spec["bundle"])  # it was uploaded for this
    where = "unpacked" if spec["release"].get("build") else "in place"
    return {"changed": changed, "summary": "release %d is %s" % (number, where)}


def _switch(spec, dry):
    changed = releases.switch(spec)
    return {"changed": changed, "summary": "release %d is current" % spec["number"]}


def _run(spec, dry):
    begun = time.monotonic()
    changed, kept, watched = _start(spec)
    _, services = releases.current_services(spec)
    names = ", ".join(service["name"] for service in services)
    summary = "started %s" % names if changed else "%s up already" % names
    substeps = [{"title": summary, "seconds": round(time.monotonic() - begun, 3)}]
    hung, healthy = _wait(spec, kept)
    substeps += [
        {"title": "%s was away for %.0f ms" % (name, 1000 * seconds)}
        for name, seconds in sorted(watched.told().items())
    ]
    return {"changed": changed or hung, "substeps": substeps + healthy}


def _start(spec):
    """The services up. Returns (changed, names that were up already, the `Outage`)."""
    place.check_owner(spec)
    number, services = releases.current_services(spec)
    if number != spec["number"]:
        raise HostProblem(
            "RELEASE_BROKEN",
            "current is release %d, not %d" % (number, spec["number"]),
            "Run release.",
        )
    altered = secrets.write(spec)
    with outage.Outage(services) as watched:
        changed, up = runtimes.start(spec, services, number)
        again = _again(spec, up) | (altered & set(up))
        if again:
            runtimes.of(spec).restart(spec, again)
            up = [name for name in up if name not in again]
            changed = True
    return changed, up, watched


def _again(spec, up):
    """Which of the services that are up are to be started anew: all of them, or some, or none."""
    wanted = spec.get("restart")
    return set(up) if wanted is True else set(up) & set(wanted or ())


def _wait(spec, kept):
    """Wait until all is healthy. Returns (whether one that hung was restarted, substeps)."""
    number, services = releases.current_services(spec)
    policy = health.policy(spec)
    once = dict(policy, failure_threshold=1)

    def states():
        return {
            name: (s["up"] and s["release"] == number, s["given_up"], s["word"])
            for name, s in runtimes.of(spec).states(spec).items()
        }

    old = [service for service in services if service["name"] in kept]
    with _checks(spec, number) as check:
        hung = _unhealthy(spec, old, check, policy, min(policy["timeout"], FIRST_WAIT))
        if hung:
            runtimes.of(spec).restart(spec, set(hung))
        healthy, failed = health.wait(
            services,
            states,
            lambda some: _unhealthy(spec, some, check, once),
            policy,
            policy["timeout"],
        )
    substeps = [
        {"title": "%s is healthy" % name, "seconds": round(seconds, 3)}
        for name, seconds in sorted(healthy.items())
    ]
    if not failed:
        return bool(hung), substeps
    names = sorted(failed)
    output = []
    for name in names:
        lines = runtimes.of(spec).log(spec, name)
        output += ["%s: %s" % (name, line) for line in lines] or ["%s: (wrote nothing)" % name]
    seen = runtimes.of(spec).states(spec)
    crashed = [name for name in names if seen.get(name, {}).get("given_up")]
    raise HostProblem(
        "SERVICE_FAILED" if crashed else "UNHEALTHY",
        "; ".join("%s: %s" % (name, failed[name]) for name in names),
        output=output,
    )


def _checks(spec, number):
    return checks.Checks(releases.folder(spec, number), users.variables(spec), users.become(spec))


def _unhealthy(spec, services, check, policy, span=0.0):
    """Services that fail their checks, or whose port is another's: {name: why}."""
    wrong = health.unhealthy(services, check, policy, span)
    for service in services:
        # one after the other, and after the checks: it may become another user for a moment
        strange = service["name"] not in wrong and listeners.stranger(service, spec["uuid"])
        if strange:
            wrong[service["name"]] = strange
    return wrong


def _stop(spec, dry):
    place.check_owner(spec, missing_ok=True)
    changed = runtimes.stop(spec)
    return {"changed": changed, "summary": "services are down"}


def _clear(spec, dry):
    place.check_owner(spec, missing_ok=True)
    changed = os.path.isdir(spec["root"]) and releases.clear(spec)
    return {"changed": changed, "summary": "releases are removed"}


def _withdraw(spec, dry):
    changed = releases.withdraw(spec)
    return {"changed": changed, "summary": "release %d is taken away" % spec["number"]}


def _remove(spec, dry):
    place.check_owner(spec, missing_ok=True)
    removed = runtimes.stop(spec)
    removed = runtimes.remove(spec) or removed
    removed = firewall.remove(spec) or removed
    removed = packages.settle(spec) or removed
    removed = place.remove(spec) or removed
    removed = users.remove(spec) or removed
    place.discard(spec["sockets"])
    return {"changed": removed, "summary": "the application and its data are removed"}


ACTIONS = {
    "prepare": _prepare,
    "prepare_anyway": _prepare_anyway,
    "settle": _settle,
    "release": _release,
    "switch": _switch,
    "run": _run,
    "stop": _stop,
    "clear": _clear,
    "withdraw": _withdraw,
    "remove": _remove,
}
DRY = ("prepare", "prepare_anyway", "release")


def inspect(spec, check_health=True):
    """What is there: read-only, and whatever is broken is told, not raised.

    Returns {there, prepared, owner, current, releases, identity, problem, services, processes,
    listening, verified, room, clock}: `room` is bytes that are free where the root is or will be,
    `clock` this machine's Unix time.
    Services have state, pid, release, since, up, healthy and problem.
    `listening` says of each of `spec["ports"]`, as text, who else has it: None if nobody does;
    `verified` what is wrong with the release `spec["verify"]`: None if nothing is.
    """
    known = users.exists(spec)
    number = releases.current(spec)
    kept = releases.manifest(spec, number) if number is not None else None
    seen = runtimes.of(spec).states(spec)
    services = {}
    up = []
    for service in kept["services"] if kept else []:
        name = service["name"]
        found = seen.pop(name, None) or {
            "state": "down",
            "pid": None,
            "release": None,
            "since": None,
            "up": False,
        }
        right = found["up"] and found["release"] == number
        wrong = None
        if not found["up"]:
            wrong = "it is %s" % found["state"]
        elif not right:
            wrong = "it runs release %s, current is %d" % (found["release"], number)
        else:
            up.append(service)
        services[name] = _service(found, wrong)
    if up and check_health:
        for name, wrong in _look(spec, up, number).items():
            services[name].update(healthy=False, problem=wrong)
    for name, found in seen.items():
        services[name] = _service(found, "the current release has no such service")
    return {
        "there": os.path.lexists(spec["root"]) or runtimes.traces(spec) or known,
        "prepared": (known or not spec.get("user"))
        and place.prepared(spec, users.ids(spec) if known else None)
        and runtimes.installed(spec)
        and not survey.absent(spec.get("app_packages")),
        "owner": place.owner(spec),
        "current": number,
        "releases": releases.numbers(spec),
        "identity": kept["identity"] if kept else None,
        "problem": releases.problem(spec, number) if number is not None else None,
        "services": services,
        "processes": sorted(pid for pid, _ in procs.of_environment(spec["uuid"])),
        "verified": releases.problem(spec, spec["verify"]) if spec.get("verify") else None,
        "listening": listeners.holders(spec.get("ports", ()), spec["uuid"]),
        "room": survey.room(spec["root"]),
        "clock": time.time(),
    }


def _look(spec, services, number):
    try:
        with _checks(spec, number) as check:
            return _unhealthy(spec, services, check, health.policy(spec))
    except HostProblem as problem:
        return {service["name"]: problem.message for service in services}


def _service(found, wrong):
    kept = {key: found[key] for key in ("state", "pid", "release", "since", "up")}
    return dict(kept, healthy=wrong is None, problem=wrong)
