"""One command of an application's on this host: as its user, line by line, and ended as a whole."""

import collections
import itertools
import os
import re
import select
import signal
import subprocess
import tempfile
import time

from . import procs, users
from .problem import HostProblem

MARK = "DEPLOYER_COMMAND"  # in the variables of all that a command starts
LAST = 20  # lines of a failed command that its problem has
LINES = 10000  # so many are told; of all others only the last ones
WIDTH = 1000  # characters of a line that are told
# what terminals take for orders: ECMA-48, 5.3 and 5.4, and the titles that xterm sets
ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
GRACE = 2.0  # seconds that what is ended gets to end by itself
POLL = 0.05  # seconds
BLOCK = 65536  # bytes; no pipe holds more, unless somebody wants it to (pipe(7))


def run(
    spec,
    argv,
    folder,
    variables,
    timeout,
    line,
    stdin=None,
    check=lambda: None,
    name=None,
    hints=None,
):
    """Run `argv` in `folder` as the environment's user, for `timeout` seconds at most.

    `variables` come on top of those that services start with, `stdin` is text that it may read,
    `line` is called with each line that it prints, `check` many times a second: what it raises
    ends the command. All that the command has started, in the background too, has ended
    afterwards. Returns its last lines. Raises `HostProblem` with them unless it exits 0: in that
    it is called `name`, and `hints` says what to do, by the problem's code.
    """
    name, hints = name or argv[0], hints or {}
    mark = "%s:%d:%d" % (spec["uuid"], spec["token"], os.getpid())
    variables = dict(users.variables(spec), **variables)
    variables[MARK] = mark
    last = collections.deque(maxlen=LAST)
    numbers = itertools.count()

    def told(text):
        last.append(text)
        number = next(numbers)
        if number <= LINES:
            line(text if number < LINES else "(what it prints from here on is not shown)")

    def failed(code, how):
        return HostProblem(code, "%s %s" % (name, how), hints.get(code, ""), list(last))

    try:
        process = _start(argv, folder, variables, stdin or "", users.become(spec))
    except OSError as error:
        reason = error.strerror
        if isinstance(error, FileNotFoundError) and os.path.exists(os.path.join(folder, argv[0])):
            reason = "the program that its first line names is not on this host"
        program = "" if name == argv[0] else argv[0] + ": "
        raise failed("COMMAND_FAILED", "can't be started: %s%s" % (program, reason)) from None
    try:
        ended = _follow(process, told, time.monotonic() + timeout, check)
    finally:
        _end(process.pid, mark)
        process.wait()
        process.stdout.close()
    if not ended:
        raise failed("TIMEOUT", "took over %g s and was ended" % timeout)
    if process.returncode:
        raise failed("COMMAND_FAILED", _how(process.returncode))
    return list(last)


def end_older(spec):
    """End what commands of older operations on this environment have left running."""
    mine, own = spec["uuid"] + ":", "%s:%d:" % (spec["uuid"], spec["token"])
    _end_marked(lambda mark: mark.startswith(mine) and not mark.startswith(own), 0.0)


def _start(argv, folder, variables, stdin, become):
    with tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        return subprocess.Popen(
            argv,
            cwd=folder,
            env=variables,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=become,
        )


def _follow(process, told, limit, check):
    """Tell its lines until it ends. Returns False if it has not within its time."""
    output, rest = process.stdout.fileno(), b""
    os.set_blocking(output, False)
    reading = True
    while True:
        # left a zombie until its group was ended, so that nobody else gets its number
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        block = _read(output) if reading else b""
        reading = block != b""
        *lines, rest = (rest + (block or b"")).split(b"\n")
        for one in lines:
            told(_text(one))
        rest = rest[:BLOCK]
        if ended:
            # all that it wrote fits into one block; what it left in the background isn't heard
            if rest:
                told(_text(rest))
            return True
        if time.monotonic() > limit:
            return False
        check()
        select.select([output] * reading, [], [], POLL)


def _read(output):
    """What can be read now: None where that is nothing, empty at the end."""
    try:
        return os.read(output, BLOCK)
    except BlockingIOError:
        return None


def _text(line):
    """A line as it looks on a terminal: the last state of a bar, no colours."""
    text = ESCAPE.sub("", line.decode("utf-8", "replace")).rstrip().rpartition("\r")[2]
    return "".join(c if c.isprintable() else " " for c in text.expandtabs())[:WIDTH]


def _how(code):
    if code > 0:
        return "exited %d" % code
    names = {one.value: one.name for one in signal.Signals}  # of real-time signals it has two
    return "was ended by %s" % names.get(-code, "signal %d" % -code)


def _end(group, mark):
    """End a command, its process group, and whatever else carries its mark."""
    _signal(group, signal.SIGTERM)
    _end_marked(lambda found: found == mark, GRACE)
    _signal(group, signal.SIGKILL)


def _signal(group, number):
    try:
        os.killpg(group, number)
    except OSError:
        pass  # nobody is left in it


def _end_marked(wanted, grace):
    # again until none is found: a process may have forked while we looked
    for _ in range(5):
        found = [p for p in procs.pids() if wanted(procs.variables(p).get(MARK, ""))]
        if not found:
            return
        procs.end({pid: procs.start_time(pid) for pid in found}, grace)
