"""Processes of this host, as /proc shows them."""

import os
import signal
import time

SERVICES_VARIABLE = "DEPLOYER_SERVICES"


def _stat(pid):
    """The fields of proc(5)'s stat from the third on; None if there is no such process."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return None


def start_time(pid):
    """Clock ticks after boot at which `pid` started; None if it is gone or a zombie.

    With the pid it names a process for good, since pids are used again.
    """
    fields = _stat(pid)
    return None if fields is None or fields[0] in (b"Z", b"X") else int(fields[19])


def ancestors(pid):
    """Parent, grandparent and so on, the nearest first."""
    found = []
    fields = _stat(pid)
    while fields and int(fields[1]) > 0:
        found.append(int(fields[1]))
        fields = _stat(found[-1])
    return found


def variables(pid):
    """The environment that `pid` started with; empty if it can't be read."""
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            pairs = file.read().split(b"\0")
    except OSError:
        return {}
    found = {}
    for pair in pairs:
        key, _, value = pair.partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    return found


def pids():
    """Every process there is, but this one."""
    own = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != own]


def of_environment(uuid):
    """Processes of an environment's services: (pid, variables), the supervisor's among them."""
    found = []
    for pid in pids():
        seen = variables(pid)
        if seen.get(SERVICES_VARIABLE) == uuid and start_time(pid) is not None:
            found.append((pid, seen))
    return found


def end(targets, grace=10.0):
    """End processes given as {pid: start time}: SIGTERM, and SIGKILL after `grace` seconds."""
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        alive = {pid for pid, started in targets.items() if start_time(pid) == started}
        for pid in alive:
            try:
                os.kill(pid, number)
            except OSError:
                continue
        limit = time.monotonic() + patience
        while alive and time.monotonic() < limit:
            time.sleep(0.02)
            alive = {pid for pid in alive if start_time(pid) == targets[pid]}
        if not alive:
            return True
    return False
