"""The system user that an environment's services run as, on hosts where we are root."""

import os
import pwd
import shutil
import subprocess
from contextlib import contextmanager

from . import place, procs
from .problem import HostProblem

TOOL_TIMEOUT = 60.0  # seconds; useradd waits for others that write /etc/passwd


def ids(spec):
    """(uid, gid) of the environment's user; None where services run as whoever runs us.

    Raises `HostProblem` where the user should be there and isn't.
    """
    if not spec.get("user"):
        return None
    found = _entry(spec)
    if found is None:
        raise HostProblem(
            "HOST_FAILED",
            "%s has no user %s" % (spec["host"], spec["user"]),
            "Run configure first.",
        )
    return found.pw_uid, found.pw_gid


def exists(spec):
    """Whether the environment's user is there; False where it has none."""
    return bool(spec.get("user")) and _entry(spec) is not None


def home(spec):
    """Where the environment's user is at home: the one folder that it may write to."""
    return place.path(spec, "shared")


def ensure(spec, dry=False):
    """Make the user if it is missing; return whether it was."""
    if not spec.get("user") or exists(spec):
        return False
    if not dry:
        _tool(
            ["useradd", "--system", "--user-group", "--no-create-home"]
            + ["--home-dir", home(spec), "--shell", "/usr/sbin/nologin", spec["user"]]
        )
    return True


def remove(spec):
    """Remove the user, and end what still runs as it; return whether it was there."""
    if not exists(spec):
        return False
    uid = ids(spec)[0]
    procs.end({pid: procs.start_time(pid) for pid in procs.of_user(uid)})
    _tool(["userdel", spec["user"]])
    return True


def become(spec):
    """What a child process calls to become the environment's user; None where it need not."""
    wanted = ids(spec)
    if wanted is None or os.geteuid() != 0:
        return None

    # asked here: what a child does between fork and exec must not wait for a lock of a thread's
    groups = os.getgrouplist(spec["user"], wanted[1])

    def change():
        os.setgroups(groups)
        os.setgid(wanted[1])
        os.setuid(wanted[0])

    return change


@contextmanager
def acting(spec):
    """Be the environment's user in the block, where services have one of their own."""
    wanted = ids(spec)
    if wanted is None or os.geteuid() != 0:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    os.setgroups(os.getgrouplist(spec["user"], wanted[1]))
    os.setegid(wanted[1])
    os.seteuid(wanted[0])
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def variables(spec):
    """The variables that services start with, our own aside."""
    found = dict(spec["variables"])
    if spec.get("user"):
        found["HOME"] = home(spec)
    return found


def _entry(spec):
    # a name of any other form is not one that we made, or may remove
    if not procs.USER.fullmatch(spec["user"]):
        raise HostProblem("HOST_FAILED", "%r is no user of an environment's" % spec["user"])
    try:
        return pwd.getpwnam(spec["user"])
    except KeyError:
        return None


def _tool(command):
    path = os.pathsep.join((os.environ.get("PATH") or os.defpath, "/usr/sbin", "/sbin"))
    if shutil.which(command[0], path=path) is None:
        raise HostProblem("TOOL_MISSING", "this host has no %s" % command[0], "Install it there.")
    try:
        done = subprocess.run(
            command,
            env={"PATH": path, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TOOL_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise HostProblem("TIMEOUT", "%s took over %d s" % (command[0], TOOL_TIMEOUT)) from None
    if done.returncode:
        said = done.stdout.decode("utf-8", "replace").strip().splitlines()
        raise HostProblem("HOST_FAILED", "%s failed" % " ".join(command), output=said[-20:])
