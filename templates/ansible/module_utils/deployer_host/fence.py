"""The fencing token on a host: an older operation is refused, and what it left running is ended."""

import fcntl
import json
import os
import time
from contextlib import contextmanager

from . import commands, place, procs
from .problem import HostProblem

JOURNAL_BYTES = 256 * 1024  # then it starts anew, and the one before is kept


@contextmanager
def held(spec, action):
    """Act under the token of `spec`; raise `HostProblem` if a newer one was here.

    The folder is outside the root, so that it survives what happens there: `spec["fence"]`.
    While acting, a note with this process's pid lies in it, for a newer operation to end.
    The journal beside it says which operation did what here, and when.
    """
    folder, token = spec["fence"], spec["token"]
    if folder.startswith(spec["sockets"] + os.sep):
        place.private(spec["sockets"])
    place.private(folder)
    note = os.path.join(folder, "running-%d" % os.getpid())
    with open(os.path.join(folder, "token"), "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        seen = int(file.read() or 0)
        if token < seen:
            raise HostProblem(
                "OUTDATED_OPERATION",
                "a newer operation (token %d) has taken this host over from this one (token %d)"
                % (seen, token),
                "Look at the history; run the command again if it is still wanted.",
            )
        if token > seen:
            _end_older(spec, folder)
            file.seek(0)
            file.truncate()
            file.write(str(token))
            file.flush()
            os.fsync(file.fileno())
        with open(note, "w") as out:
            json.dump(procs.start_time(os.getpid()), out)
        _journal(folder, token, action, "start")
    try:
        yield
        _journal(folder, token, action, "done")
    except BaseException:
        _journal(folder, token, action, "failed")
        raise
    finally:
        if os.path.exists(note):
            os.unlink(note)


def _journal(folder, token, action, moment):
    """Note a moment of an action; without an end, its process was ended."""
    path = os.path.join(folder, "journal")
    line = {"moment": moment, "token": token, "action": action, "pid": os.getpid()}
    line.update(at=time.time(), monotonic=time.monotonic())
    try:
        # one short write to a file opened for appending: lines of several writers stay whole
        with open(path, "a") as file:
            if file.tell() > JOURNAL_BYTES:
                os.rename(path, path + ".old")
            file.write(json.dumps(line) + "\n")
    except OSError:
        pass  # it only tells; what is to be done does not hang on it


def _end_older(spec, folder):
    older, notes = {}, []
    for name in os.listdir(folder):
        if name.startswith("running-"):
            notes.append(os.path.join(folder, name))
            try:
                with open(notes[-1]) as file:
                    older[int(name.partition("-")[2])] = json.load(file)
            except ValueError:
                pass  # written half: its process was ended at that moment
    # at once: what an older operation does here may not go on beside ours
    procs.end(older, grace=0.0)
    if notes:
        commands.end_older(spec)
    for path in notes:
        os.unlink(path)
