"""How services run on this host: the one place that chooses a runtime.

A runtime is a module with these functions:

    install(spec, dry)              make sure that it can be used here; whether anything changed
    installed(spec)                 whether `install` has nothing to do
    warnings(spec)                  what a user should know though it can be used, in words
    start(spec, services, number)   the services of a release up, and no others;
                                    (changed, names that were up from it already)
    restart(spec, names)            stop and start some of them
    stop(spec)                      what it has up down, and not started at boot; whether any was
    remove(spec)                    what it keeps outside the root; whether there was anything
    traces(spec)                    whether `remove` has anything to do
    states(spec)                    {service: {state, pid, release, since, up, given_up, word}}
    log(spec, service)              a service's last lines
"""

import os

from . import place, procs, supervisor, systemd

ALL = {"supervisor": supervisor, "systemd": systemd}


def of(spec):
    """The runtime of an environment."""
    return ALL[spec["runtime"]]


def install(spec, dry=False):
    """Place what every runtime needs, and what this one does; return whether anything changed."""
    changed = of(spec).install(spec, dry)
    target = place.path(spec, "runtime", "launch.py")
    if dry:
        return changed or not place.is_written(target, spec["launcher"])
    changed = place.write(target, spec["launcher"]) or changed
    # a short, plain name for an interpreter whose own path may hold anything
    python = place.path(spec, "runtime", "python")
    if not os.path.exists(python):
        place.discard(python)
        os.symlink(spec["python"], python)
        changed = True
    return changed


def installed(spec):
    """Whether `install` has nothing to do."""
    return (
        os.path.exists(place.path(spec, "runtime", "launch.py"))
        and os.path.exists(place.path(spec, "runtime", "python"))
        and of(spec).installed(spec)
    )


def warnings(spec):
    """What a user should know of the runtime though it can be used: texts."""
    return of(spec).warnings(spec)


def start(spec, services, number):
    """Bring the services of release `number` up, and no others, another runtime's neither."""
    ended = [runtime.stop(spec) for runtime in ALL.values() if runtime is not of(spec)]
    changed, kept = of(spec).start(spec, services, number)
    return changed or any(ended), kept


def stop(spec):
    """Everything of the environment down, for good; return whether anything was up."""
    found = procs.of_environment(spec["uuid"])
    ended = [runtime.stop(spec) for runtime in ALL.values()]
    # what forked away, and what a lost daemon left behind
    procs.end_environment(spec["uuid"])
    return bool(found) or any(ended)


def remove(spec):
    """Remove what runtimes keep outside the root; return whether there was anything."""
    removed = [runtime.remove(spec) for runtime in ALL.values()]
    return any(removed)


def traces(spec):
    """Whether a runtime keeps anything outside the root."""
    return any(runtime.traces(spec) for runtime in ALL.values())
