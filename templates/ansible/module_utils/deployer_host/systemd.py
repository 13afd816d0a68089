"""The runtime `systemd`: one unit a service, kept up by the host's manager or a user's own."""

import calendar
import json
import os
import re
import subprocess
import time

from . import logs, manager, place, procs, rotation, units, users
from .problem import HostProblem

UP_AFTER = 1.0  # seconds that a process must live before it counts as up, as supervisor has it
TIMEOUT = 20.0  # seconds for journalctl
PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "MainPID",
    "ExecMainStatus",
    "ExecMainStartTimestamp",
    "ExecMainStartTimestampMonotonic",
    "NeedDaemonReload",
)


def _show(spec, names):
    """{unit: properties} of units, by one call."""
    if not names or not manager.answers(spec):
        return {}
    said = manager.systemctl(spec, "show", "--property=" + ",".join(PROPERTIES), "--", *names)
    blocks = [
        dict(line.partition("=")[::2] for line in block.splitlines())
        for block in said.strip().split("\n\n")
    ]
    return {block["Id"]: block for block in blocks if "Id" in block}


def install(spec, dry=False):
    """See that systemd runs here, and let logs be rotated; return whether anything changed."""
    _refuse_without(spec)
    changed = rotation.write(spec, dry)
    return (not dry and manager.linger(spec)) or changed


def _refuse_without(spec):
    problem = manager.lacking(spec)
    if problem:
        raise HostProblem("TOOL_MISSING", *problem)


def installed(spec):
    """Whether systemd runs here."""
    return manager.answers(spec)


def warnings(spec):
    """What a user should know, though services can run."""
    return manager.warnings(spec)


def start(spec, services, number):
    """Bring the services of release `number` up, and no others, now and at boot.

    Returns (changed, names of services that were up from this release already).
    """
    _refuse_without(spec)
    users.ids(spec)  # without its user no service starts
    wanted = {units.name(spec, service["name"]): service["name"] for service in services}
    units.refuse_foreign(spec, wanted)
    _write_variables(spec)
    stale = [unit for unit in units.own(spec) if unit not in wanted]
    if stale:
        _end(spec, stale)
        units.discard(spec, stale)
    written = [unit for unit, name in wanted.items() if units.write(spec, name, number)]
    seen = _show(spec, wanted)
    added = [unit for unit in wanted if not units.is_enabled(spec, unit)]
    outdated = any(block["NeedDaemonReload"] == "yes" for block in seen.values())
    if added:
        manager.systemctl(spec, "enable", "--", *added)  # which reloads
    if stale or written or outdated:
        manager.systemctl(spec, "daemon-reload")
    strays = _end_strays(spec)
    kept, begun = [], []
    for unit, name in wanted.items():
        state = _state(spec, unit, seen[unit])
        if unit in written or state["release"] != number:
            begun.append(unit)
        elif state["up"]:
            kept.append(name)
    _begin(spec, begun)
    return bool(stale or written or added or strays or begun), kept


def _write_variables(spec):
    """What services start with, for the launcher: in a unit systemd would read meaning into it."""
    target = place.path(spec, "runtime", "variables.json")
    place.write(target, json.dumps(users.variables(spec), sort_keys=True), mode=0o640)
    ids = users.ids(spec)
    if ids:
        os.chown(target, 0, ids[1])


def _begin(spec, names):
    if not names:
        return
    # an earlier crash loop doesn't count any more
    manager.systemctl(spec, "reset-failed", "--", *names, check=False)
    # a service that ends at once is its health's to tell; a unit that systemd refuses is ours
    manager.systemctl(spec, "restart", "--", *names, check=False)
    for unit, block in _show(spec, names).items():
        if block["LoadState"] != "loaded":
            raise HostProblem("SERVICE_FAILED", "%s is %s" % (unit, block["LoadState"]))


def restart(spec, names):
    """Stop and start services."""
    _begin(spec, [units.name(spec, name) for name in sorted(names)])


def stop(spec):
    """Every service of systemd's down, and not started at boot; return whether any was."""
    own = units.own(spec)
    # a unit whose file was removed runs on until it is stopped, and starts again what is killed
    living = _living(spec)
    enabled = [unit for unit in own if units.is_enabled(spec, unit)]
    if not manager.answers(spec):
        for unit in enabled:
            units.disable(spec, unit)
        return bool(enabled)
    _end(spec, sorted({*own, *living}))
    return bool(enabled or living)


def _end(spec, names):
    enabled = [unit for unit in names if units.is_enabled(spec, unit)]
    if enabled:
        manager.systemctl(spec, "disable", "--", *enabled)
    if names:
        manager.systemctl(spec, "stop", "--", *names)
        manager.systemctl(spec, "reset-failed", "--", *names, check=False)


def _living(spec):
    """Units of this environment that have processes."""
    paths = (procs.cgroup(pid) for pid, _ in procs.of_environment(spec["uuid"]))
    marker = "/" + procs.slice_name(spec["uuid"]) + "/"
    found = {path.partition(marker)[2].split("/")[0] for path in paths}
    return {unit for unit in found if unit.endswith(".service")}


def _end_strays(spec):
    """End processes of this environment that no unit has: a lost supervisor's, say."""
    marker = "/" + procs.slice_name(spec["uuid"]) + "/"
    strays = {
        pid: procs.start_time(pid)
        for pid, _ in procs.of_environment(spec["uuid"])
        if marker not in procs.cgroup(pid) + "/"
    }
    procs.end(strays)
    return bool(strays)


def remove(spec):
    """Remove units and the rule for logs; return whether there were any. Services are down."""
    ruled = rotation.remove(spec)
    own = units.own(spec)
    units.discard(spec, own)
    if not own and not ruled:
        return False
    if manager.answers(spec):
        manager.systemctl(spec, "daemon-reload")
        manager.systemctl(spec, "stop", "--", procs.slice_name(spec["uuid"]), check=False)
    return True


def traces(spec):
    """Whether there is anything to remove."""
    return bool(units.own(spec)) or rotation.traces(spec)


def states(spec):
    """{service: {state, pid, release, since, up, given_up, word}} of all that isn't down."""
    found = {}
    for unit, block in _show(spec, units.own(spec)).items():
        if block["ActiveState"] != "inactive":
            found[units.service(spec, unit)] = _state(spec, unit, block)
    return found


def _state(spec, unit, block):
    active, sub = block["ActiveState"], block["SubState"]
    pid = int(block["MainPID"])
    alive = active == "active" and sub == "running" and pid > 0
    age = time.monotonic() - int(block["ExecMainStartTimestampMonotonic"]) / 1e6
    release = _release_of(spec, unit, pid, age, block) if alive else None
    up = alive and release is not None and age >= UP_AFTER
    status = block["ExecMainStatus"]
    if up:
        state = word = "running"
    elif alive:
        state = word = "starting"
    elif active == "failed":
        state, word = "failed", "exited too often, last with status %s" % status
    elif sub == "auto-restart":
        state, word = "backoff", "being started again after it exited with status %s" % status
    else:
        state = word = {"activating": "starting", "deactivating": "stopping"}.get(active, active)
    return {
        "state": state,
        "pid": pid or None,
        "release": release,
        "since": _unix(block["ExecMainStartTimestamp"]) if alive else None,
        "up": up,
        "given_up": active == "failed",
        "word": word,
        "alive": alive,
    }


def _release_of(spec, unit, pid, age, block):
    """The release that a unit's process runs."""
    seen = procs.variables(pid)
    number = seen.get(procs.RELEASE_VARIABLE, "")
    if number.isdigit():
        return int(number)
    if seen.get(procs.SERVICES_VARIABLE):
        return None  # the launcher itself, for a moment
    # a program that wrote its title over its environment: it is what its unit has said since
    path = units.path(spec, unit)
    try:
        older = os.stat(path).st_mtime < time.time() - age
        with open(path) as file:
            named = re.search(r"^ExecStart=.* -I \S+ \S+ (\d+) ", file.read(), re.M)
    except OSError:
        return None
    return int(named.group(1)) if named and older and block["NeedDaemonReload"] == "no" else None


def _unix(stamp):
    """A time of systemd's in UTC, `Thu 2025-11-20 12:00:00 UTC`, as Unix time; None if unset."""
    try:
        return calendar.timegm(time.strptime(stamp[4:23], "%Y-%m-%d %H:%M:%S"))
    except ValueError:
        return None


def log(spec, service, lines=20):
    """The last lines that a service wrote, and where it could not be started, systemd's."""
    written = logs.last(spec, service, lines)
    unit = units.name(spec, service)
    status = _show(spec, [unit]).get(unit, {}).get("ExecMainStatus", "")
    if status.isdigit() and 200 <= int(status) <= 245:  # systemd.exec(5), process exit codes
        written = (written + _journal(spec, unit))[-lines:]
    return written


def _journal(spec, unit):
    """What systemd said of its last try to start a unit: what it could not do."""
    command = ["journalctl", *manager.of(spec).arguments, "--unit", unit, "--priority", "err"]
    try:
        done = subprocess.run(
            [*command, "--lines", "5", "--output", "cat", "--no-pager"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.decode("utf-8", "replace").splitlines()
