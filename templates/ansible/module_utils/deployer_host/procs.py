"""Processes of this host, as /proc shows them."""

import os
import pwd
import re
import signal
import time

from .problem import HostProblem

SERVICES_VARIABLE = "DEPLOYER_SERVICES"
RELEASE_VARIABLE = "DEPLOYER_RELEASE"
USER = re.compile(r"deployer-[0-9a-f]{8}")  # the form of every user that services run as


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


def peek(pid, read):
    """What `read()` finds in /proc of `pid`.

    Root in a container may lack CAP_SYS_PTRACE and with it the sight of others' processes: it
    becomes the user of an environment's services for that moment (ptrace(2), access mode check).
    """
    try:
        return read()
    except PermissionError:
        owner = os.stat("/proc/%d" % pid)
        if os.geteuid() != 0 or not _is_services_user(owner.st_uid):
            raise
    group = os.getegid()
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        return read()
    finally:
        os.seteuid(0)
        os.setegid(group)


def _is_services_user(uid):
    try:
        return USER.fullmatch(pwd.getpwuid(uid).pw_name) is not None
    except KeyError:
        return False


def variables(pid):
    """The environment that `pid` started with; empty if it can't be read."""

    def read():
        with open("/proc/%d/environ" % pid, "rb") as file:
            return file.read().split(b"\0")

    try:
        pairs = peek(pid, read)
    except OSError:
        return {}
    found = {}
    for pair in pairs:
        key, _, value = pair.partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    return found


def name(pid):
    """The name of a process, as its kernel has it."""
    try:
        with open("/proc/%d/comm" % pid) as file:
            return file.read().strip()
    except OSError:
        return "a process"


def pids():
    """Every process there is, but this one."""
    own = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != own]


def slice_name(uuid):
    """The slice of systemd's that an environment's units are in."""
    return "deployer-%s.slice" % uuid.replace("-", "")


def cgroup(pid):
    """Where systemd has put `pid`; empty if it can't be read (cgroups(7), both versions)."""
    try:
        with open("/proc/%d/cgroup" % pid) as file:
            paths = dict(line.rstrip("\n").split(":", 2)[1:] for line in file)
    except OSError:
        return ""
    return paths.get("name=systemd") or paths.get("") or ""


def of_environment(uuid):
    """Processes of an environment's services: (pid, variables), the supervisor's among them.

    By the variable that they start with; under systemd by their slice too, since some programs
    write a title over their variables.
    """
    slices = "/" + slice_name(uuid) + "/" if os.path.isdir("/run/systemd/system") else None
    found = []
    for pid in pids():
        seen = variables(pid)
        if seen.get(SERVICES_VARIABLE) != uuid and not (slices and slices in cgroup(pid)):
            continue
        if start_time(pid) is not None:
            found.append((pid, seen))
    return found


def of_user(uid):
    """Processes that run as a user."""
    found = []
    for pid in pids():
        try:
            if os.stat("/proc/%d" % pid).st_uid == uid:
                found.append(pid)
        except OSError:
            continue
    return found


def end_environment(uuid):
    """End every process of an environment's services; raise `HostProblem` if one stays."""
    # again until none is found: a process may have forked while we looked
    for _ in range(5):
        found = {pid: start_time(pid) for pid, _ in of_environment(uuid)}
        if not found:
            return
        end(found)
    raise HostProblem("SERVICE_FAILED", "processes of this environment can't be ended")


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
