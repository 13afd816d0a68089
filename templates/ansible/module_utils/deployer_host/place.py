"""The root folder of an environment on a host: its layout, its owner, its lock."""

import fcntl
import json
import os
import shutil
from contextlib import contextmanager

from .problem import HostProblem

FOLDERS = ("releases", "shared", "logs", "runtime")


def path(spec, *parts):
    """A path below the root."""
    return os.path.join(spec["root"], *parts)


def owner(spec):
    """The UUID in the owner file; None where there is none."""
    try:
        with open(path(spec, "owner.json"), encoding="utf-8") as file:
            return json.load(file).get("uuid")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError):
        return "?"


def check_owner(spec, missing_ok=False):
    """Refuse a root that belongs to another environment, or to nobody we know."""
    found = owner(spec)
    if found == spec["uuid"]:
        return
    if found is None and missing_ok:
        return
    if found is None:
        raise HostProblem(
            "HOST_FAILED",
            "%s is not prepared for this environment" % spec["root"],
            "Run configure first.",
        )
    raise HostProblem(
        "FOREIGN_ROOT",
        "%s belongs to another environment (%s)" % (spec["root"], found),
        "Destroy that environment first, or move its folder away.",
    )


def prepared(spec):
    """Whether the layout is there and ours."""
    return owner(spec) == spec["uuid"] and all(
        os.path.isdir(path(spec, folder)) for folder in FOLDERS
    )


def prepare(spec, dry=False):
    """Make what is missing of the layout; return whether anything was."""
    check_owner(spec, missing_ok=True)
    if prepared(spec):
        return False
    if not dry:
        for folder in ("", *FOLDERS):
            os.makedirs(path(spec, folder), exist_ok=True)
            os.chmod(path(spec, folder), 0o755)
        write(
            path(spec, "owner.json"),
            json.dumps({"uuid": spec["uuid"], "environment": spec["environment"]}) + "\n",
        )
    return True


def write(target, text, mode=0o644):
    """Write a file as a whole or not at all; return whether its content changed."""
    try:
        with open(target, encoding="utf-8") as file:
            if file.read() == text and os.stat(target).st_mode & 0o777 == mode:
                return False
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    new = target + ".new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(new, mode)
    os.rename(new, target)
    return True


@contextmanager
def locked(spec):
    """Hold the root's own lock: one writer at a time, whoever they are."""
    with open(path(spec, "runtime", "lock"), "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove(spec):
    """Remove the root; return whether it was there."""
    check_owner(spec, missing_ok=True)
    if not os.path.lexists(spec["root"]):
        return False
    if os.path.islink(spec["root"]):
        raise HostProblem(
            "FOREIGN_ROOT", "%s is a symbolic link" % spec["root"], "Remove the link by hand."
        )
    # the owner file goes last, so that a removal that was cut short can be taken up again
    for name in os.listdir(spec["root"]):
        if name != "owner.json":
            discard(path(spec, name))
    discard(spec["root"])
    return True


def discard(target):
    """Remove a file, link or folder, if it is there."""
    if os.path.isdir(target) and not os.path.islink(target):
        shutil.rmtree(target)
    elif os.path.lexists(target):
        os.unlink(target)
