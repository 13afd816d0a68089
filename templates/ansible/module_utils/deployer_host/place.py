"""The root folder of an environment on a host: its layout, its owner, its lock."""

import fcntl
import json
import os
import shutil
import stat
from contextlib import contextmanager

from .problem import HostProblem

FOLDERS = ("releases", "shared", "logs", "runtime")
SHARED = "shared"  # the one that services may write to; logs are written for them


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


def prepared(spec, ids=None):
    """Whether the layout is there and ours, and belongs to whom it should."""
    return owner(spec) == spec["uuid"] and all(
        _is_right(spec, folder, ids) for folder in ("", *FOLDERS)
    )


def _is_right(spec, folder, ids):
    try:
        found = os.lstat(path(spec, folder))
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    wanted = _rights(folder, ids)
    return ids is None or (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == wanted


def _rights(folder, ids):
    """(mode, uid, gid) of a folder of the layout where services have a user of their own."""
    return (0o750, *ids) if ids and folder == SHARED else (0o755, 0, 0)


def make(spec, folder, ids=None):
    """Make a folder of the layout; `ids` are the services' user's, where they have one."""
    mode, uid, gid = _rights(folder, ids)
    full = path(spec, folder)
    os.makedirs(full, exist_ok=True)
    if ids:
        before = os.stat(full).st_uid
        os.chown(full, uid, gid)
        if folder == SHARED and before not in (0, uid):
            _hand_over(spec, before, ids)
    os.chmod(full, mode)


def _hand_over(spec, before, ids):
    """Give the user what the one before it had, as after a restore to another machine."""
    for folder, folders, files in os.walk(path(spec)):
        for name in folders + files:
            full = os.path.join(folder, name)
            if os.lstat(full).st_uid == before:
                os.chown(full, *ids, follow_symlinks=False)


def prepare(spec, ids=None, dry=False):
    """Make what is missing of the layout; return whether anything was."""
    check_owner(spec, missing_ok=True)
    if prepared(spec, ids):
        return False
    if not dry:
        for folder in ("", *FOLDERS):
            make(spec, folder, ids)
        write(
            path(spec, "owner.json"),
            json.dumps({"uuid": spec["uuid"], "environment": spec["environment"]}) + "\n",
        )
    return True


def private(folder):
    """Make a folder that is for its owner alone."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    os.chmod(folder, 0o700)


def is_written(target, text, mode=0o644):
    """Whether a file has this content and this mode."""
    try:
        with open(target, encoding="utf-8") as file:
            return file.read() == text and os.stat(target).st_mode & 0o777 == mode
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def write(target, text, mode=0o644):
    """Write a file as a whole or not at all; return whether its content changed."""
    if is_written(target, text, mode):
        return False
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
        try:
            shutil.rmtree(target)
        except PermissionError:
            _open_up(target)
            shutil.rmtree(target)
    elif os.path.lexists(target):
        os.unlink(target)


def _open_up(target):
    """Let who owns these folders remove what is in them: a build may have forbidden it."""
    if os.geteuid() == 0:
        return  # it may anyway, and must follow no link that somebody puts there meanwhile
    os.chmod(target, 0o700)
    for folder, folders, _ in os.walk(target):
        for name in folders:
            if not os.path.islink(os.path.join(folder, name)):
                os.chmod(os.path.join(folder, name), 0o700)
