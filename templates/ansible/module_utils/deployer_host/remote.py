"""One request that came over SSH, and its answer on stdout."""

import hashlib
import json
import os
import select
import signal
import sys

from . import actions, build, fence, firewall, hooks, logs, place, releases
from .problem import HostProblem

MARK = "#deployer\n"
BLOCK = 1 << 18


def answer(request, stream):
    """Do what a request says; `stream` holds the file that came with it, if one did."""
    os.umask(0o022)
    try:
        found = REQUESTS[request["action"]](request, stream)
    except HostProblem as problem:
        found = problem.answer()
    except OSError as error:
        found = HostProblem.of(error).answer()
    sys.stdout.write(MARK + json.dumps(found))
    sys.stdout.flush()


def _inspect(request, stream):
    return actions.inspect(request["spec"], request["check_health"])


def _upload(request, stream):
    """Write the bundle where `actions.release` expects it, if its digest is right."""
    spec = request["spec"]
    with fence.held(spec, "upload"):
        place.check_owner(spec)
        target = spec["bundle"]
        digest = hashlib.sha256()
        fd = os.open(target + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                while True:
                    block = stream.read1(BLOCK)
                    if not block:
                        break
                    digest.update(block)
                    file.write(block)
            if digest.hexdigest() != request["digest"]:
                raise HostProblem("RELEASE_BROKEN", "the bundle arrived damaged", "Try again.")
        except BaseException:
            os.unlink(target + ".new")
            raise
        os.rename(target + ".new", target)
    return {"changed": True}


def _logs(request, stream):
    """Print lines of services as JSON, one a line; on and on if they are to be followed."""
    spec, lines = request["spec"], request["lines"]
    files = logs.files(spec["root"])
    wanted = request["service"]
    if wanted is not None and wanted not in files:
        return {"services": sorted(files), "unknown": True}
    if wanted is not None:
        files = {wanted: files[wanted]}
    for line in logs.of_all(files, lines, request["since"]):
        _say(line)
    if request["follow"]:
        for line in logs.follow(files, stream):
            _say(line)
    return {"services": sorted(files), "unknown": False}


def _hook(request, stream):
    """Run a hook, and print its lines as JSON."""

    def told(line):
        _say({"title": line, "outcome": "output"})

    return hooks.run(request, told, _waited_for(stream))


def _waited_for(stream):
    """A check that fails when `stream` has ended or this process is to end: nobody waits then."""
    signal.signal(signal.SIGTERM, _leave)

    def check():
        if select.select([stream], [], [], 0)[0] and not stream.read1(1):
            raise HostProblem("INTERRUPTED", "the operation that wanted it has ended")

    return check


def _firewall(request, stream):
    with fence.held(request["spec"], "firewall"):
        place.check_owner(request["spec"])
        return {"changed": firewall.apply(request["spec"])}


def _confirm(request, stream):
    with fence.held(request["spec"], "firewall"):
        return {"changed": firewall.confirm(request["spec"])}


def _build(request, stream):
    """Print what is to be told of the build as JSON, one a line."""
    with fence.held(request["spec"], "build"):
        return {"changed": build.run(request["spec"], _say, _waited_for(stream))}


def _leave(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is cleaned up then is not interrupted
    raise SystemExit(1)


def _say(value):
    print(json.dumps(value), flush=True)


def _withdraw(request, stream):
    with fence.held(request["spec"], "withdraw"):
        return {"changed": releases.withdraw(request["spec"])}


REQUESTS = {
    "inspect": _inspect,
    "upload": _upload,
    "build": _build,
    "withdraw": _withdraw,
    "logs": _logs,
    "hook": _hook,
    "firewall": _firewall,
    "firewall_confirm": _confirm,
}
