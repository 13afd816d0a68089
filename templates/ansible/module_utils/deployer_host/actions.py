"""What Ansible's module does on a host, by name; and the look, which changes nothing."""

import base64
import json
import os

from . import fence, health, listeners, place, procs, releases, supervisor
from .problem import HostProblem

FIRST_WAIT = 3.0  # seconds that a service which was up already gets before it is restarted


def perform(action, spec, kept=(), dry=False):
    """Perform `action` with the encoded `spec`. Returns (succeeded, result for Ansible)."""
    spec = decode(spec)
    os.umask(0o022)
    try:
        if dry and action not in DRY:
            return True, {"changed": False, "skipped": True}
        with fence.held(spec, action):
            result = ACTIONS[action](spec, kept, dry)
        return True, dict({"changed": False}, **result)
    except HostProblem as problem:
        return False, {
            "msg": problem.message,
            "problem": {
                "code": problem.code,
                "hint": problem.hint,
                "output": problem.output,
            },
        }
    except OSError as error:
        return False, {
            "msg": "%s%s" % (error.strerror, ": " + str(error.filename) if error.filename else ""),
            "problem": {"code": "HOST_FAILED", "hint": "", "output": []},
        }


def decode(spec):
    """The value of an encoded spec."""
    return json.loads(base64.b64decode(spec))


def _prepare(spec, kept, dry):
    changed = place.prepare(spec, dry)
    changed = supervisor.install(spec, dry) or changed
    return {"changed": changed, "summary": "%s is prepared" % spec["host"]}


def _release(spec, kept, dry):
    number = spec["release"]["number"]
    changed = releases.install(spec, dry)
    return {"changed": changed, "summary": "release %d is in place" % number}


def _start(spec, kept, dry):
    place.check_owner(spec)
    number, services = supervisor.current_services(spec)
    if number != spec["number"]:
        raise HostProblem(
            "RELEASE_BROKEN",
            "current is release %d, not %d" % (number, spec["number"]),
            "Run release.",
        )
    changed, up = supervisor.start(spec, services, number)
    names = ", ".join(service["name"] for service in services)
    summary = "started %s" % names if changed else "%s up already" % names
    return {"changed": changed, "kept": up, "summary": summary}


def _health(spec, kept, dry):
    number, services = supervisor.current_services(spec)
    policy = spec["health"]

    def check(service):
        return _check(spec, service, number)

    def states():
        return {
            name: (s["up"] and s["release"] == number, s["given_up"], s["word"])
            for name, s in supervisor.states(spec).items()
        }

    changed = False
    healthy = {}
    waiting = list(services)
    old = [service for service in services if service["name"] in kept]
    if old:
        patience = min(policy["timeout"], FIRST_WAIT)
        healthy, hung = health.wait(old, states, check, policy, patience)
        if hung:
            supervisor.restart(spec, set(hung))
            changed = True
        waiting = [s for s in services if s["name"] not in healthy]
    more, failed = health.wait(waiting, states, check, policy, policy["timeout"])
    healthy.update(more)
    substeps = [
        {"title": "%s is healthy" % name, "seconds": round(seconds, 3)}
        for name, seconds in sorted(healthy.items())
    ]
    if not failed:
        return {"changed": changed, "substeps": substeps}
    names = sorted(failed)
    output = []
    for name in names:
        lines = supervisor.log(spec, name)
        output += ["%s: %s" % (name, line) for line in lines] or ["%s: (wrote nothing)" % name]
    seen = supervisor.states(spec)
    crashed = [name for name in names if seen.get(name, {}).get("given_up")]
    raise HostProblem(
        "SERVICE_FAILED" if crashed else "UNHEALTHY",
        "; ".join("%s: %s" % (name, failed[name]) for name in names),
        output=output,
    )


def _check(spec, service, number):
    """One check of a service: None if it passed, and on a port of its own; else why not."""
    wrong = health.check(service, releases.folder(spec, number), spec["variables"])
    return wrong or listeners.stranger(service, spec["uuid"])


def _stop(spec, kept, dry):
    place.check_owner(spec, missing_ok=True)
    changed = supervisor.stop(spec)
    return {"changed": changed, "summary": "services are down"}


def _clear(spec, kept, dry):
    place.check_owner(spec, missing_ok=True)
    changed = os.path.isdir(spec["root"]) and releases.clear(spec)
    return {"changed": changed, "summary": "releases are removed"}


def _withdraw(spec, kept, dry):
    changed = releases.withdraw(spec)
    return {"changed": changed, "summary": "release %d is taken away" % spec["number"]}


def _remove(spec, kept, dry):
    place.check_owner(spec, missing_ok=True)
    supervisor.stop(spec)
    removed = place.remove(spec)
    place.discard(spec["sockets"])
    return {"changed": removed, "summary": "the application and its data are removed"}


ACTIONS = {
    "prepare": _prepare,
    "release": _release,
    "start": _start,
    "health": _health,
    "stop": _stop,
    "clear": _clear,
    "withdraw": _withdraw,
    "remove": _remove,
}
DRY = ("prepare", "release")


def inspect(spec, check_health=True):
    """What is there: read-only, and whatever is broken is told, not raised.

    Returns {there, prepared, owner, current, releases, identity, problem, services, processes};
    services have state, pid, release, since, up, healthy and problem.
    """
    number = releases.current(spec)
    kept = releases.manifest(spec, number) if number is not None else None
    seen = supervisor.states(spec)
    services = {}
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
        elif check_health:
            wrong = _check(spec, service, number)
        services[name] = _service(found, wrong)
    for name, found in seen.items():
        services[name] = _service(found, "the current release has no such service")
    return {
        "there": os.path.lexists(spec["root"]),
        "prepared": place.prepared(spec) and supervisor.installed(spec),
        "owner": place.owner(spec),
        "current": number,
        "releases": releases.numbers(spec),
        "identity": kept["identity"] if kept else None,
        "problem": releases.problem(spec, number) if number is not None else None,
        "services": services,
        "processes": sorted(pid for pid, _ in procs.of_environment(spec["uuid"])),
    }


def _service(found, wrong):
    kept = {key: found[key] for key in ("state", "pid", "release", "since", "up")}
    return dict(kept, healthy=wrong is None, problem=wrong)
