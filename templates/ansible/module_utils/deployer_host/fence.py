"""The fencing token on a host: an older operation is refused, and what it left running is ended."""

import fcntl
import json
import os
from contextlib import contextmanager

from . import procs
from .problem import HostProblem


@contextmanager
def held(spec):
    """Act under the token of `spec`; raise `HostProblem` if a newer one was here.

    The folder is outside the root, so that it survives what happens there: `spec["fence"]`.
    While acting, a note with this process's pid lies in it, for a newer operation to end.
    """
    folder, token = spec["fence"], spec["token"]
    os.makedirs(folder, mode=0o700, exist_ok=True)
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
            _end_older(folder)
            file.seek(0)
            file.truncate()
            file.write(str(token))
            file.flush()
            os.fsync(file.fileno())
        with open(note, "w") as out:
            json.dump(procs.start_time(os.getpid()), out)
    try:
        yield
    finally:
        if os.path.exists(note):
            os.unlink(note)


def _end_older(folder):
    older = {}
    for name in os.listdir(folder):
        if name.startswith("running-"):
            path = os.path.join(folder, name)
            try:
                with open(path) as file:
                    older[int(name.partition("-")[2])] = json.load(file)
            except ValueError:
                pass  # written half: its process was ended at that moment
            os.unlink(path)
    # at once: what an older operation does here may not go on beside ours
    procs.end(older, grace=0.0)
