"""The runtime `supervisor`: one private daemon an environment, reached by its own socket."""

import http.client
import json
import os
import socket
import subprocess
import time
import xmlrpc.client

from . import place, procs, releases
from .problem import HostProblem

UP = "RUNNING"
GIVEN_UP = ("FATAL", "UNKNOWN")
START_WAIT = 10.0  # seconds until the daemon must answer
STOP_WAIT = 30.0  # seconds until it must be gone; it gives services 10


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=STOP_WAIT)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path):
        super().__init__()
        self._path = path

    def make_connection(self, host):
        return _Connection(self._path)


def _socket(spec):
    """The socket of the recorded daemon while that lives, else where a new one's goes.

    They differ where the temp dir is another one by now, under cron for example.
    """
    note = _note(spec)
    return note["socket"] if note else os.path.join(spec["sockets"], "supervisor.sock")


def _api(spec):
    """The daemon's interface, or None if it doesn't answer or is not this environment's."""
    proxy = xmlrpc.client.ServerProxy("http://localhost", transport=_Transport(_socket(spec)))
    try:
        if proxy.supervisor.getIdentification() == spec["uuid"]:
            return proxy.supervisor
    except (OSError, http.client.HTTPException, xmlrpc.client.Error):
        pass
    return None


def install(spec, dry=False):
    """Place what the daemon needs beside its configuration; return whether anything changed."""
    target = place.path(spec, "runtime", "launch.py")
    if dry:
        return not os.path.exists(target)
    changed = place.write(target, spec["launcher"])
    # a short, plain name for an interpreter whose own path may hold anything
    python = place.path(spec, "runtime", "python")
    if not os.path.exists(python):
        place.discard(python)
        os.symlink(spec["python"], python)
        changed = True
    return changed


def installed(spec):
    """Whether `install` has nothing to do."""
    return os.path.exists(place.path(spec, "runtime", "launch.py")) and os.path.exists(
        place.path(spec, "runtime", "python")
    )


def _configuration(spec, services, number):
    # no value of a user stands in this file: supervisor would take % ; and # for its own
    lines = [
        "[supervisord]",
        "identifier=" + spec["uuid"],
        "pidfile=%(here)s/supervisord.pid",
        "logfile=%(here)s/../logs/supervisord.log",
        "logfile_maxbytes=1MB",
        "logfile_backups=1",
        "umask=022",
        "[unix_http_server]",
        "file=" + _socket(spec),
        "chmod=0600",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for service in services:
        lines += [
            "[program:%s]" % service["name"],
            # the release is part of the process's name: another release is another process
            "process_name=r%d" % number,
            "command=runtime/python -I runtime/launch.py %s %d" % (service["name"], number),
            # relative to the root, where the daemon runs: a % in %(here)s would be expanded again
            "stdout_logfile=logs/%s.log" % service["name"],
            "stdout_logfile_maxbytes=10MB",
            "stdout_logfile_backups=5",
            "redirect_stderr=true",
            "autorestart=true",
            "startsecs=1",
            "startretries=3",
            "stopasgroup=true",
            "killasgroup=true",
            "stopwaitsecs=10",
        ]
    return "\n".join(lines) + "\n"


def start(spec, services, number):
    """Bring the services of release `number` up, and no others.

    Returns (changed, names of services that were up from this release already).
    """
    configuration = place.path(spec, "runtime", "supervisord.conf")
    place.write(configuration, _configuration(spec, services, number))
    before = {pid for pid, _ in procs.of_environment(spec["uuid"])}
    api = _api(spec)
    if api is None or not _is_in_root(spec, api.getPID()):
        # what a lost or killed daemon left behind would stand beside the new services
        _end_all(spec)
        _spawn(spec, configuration)
        return True, []
    changed = False
    added, altered, removed = api.reloadConfig()[0]
    for group in removed + altered:
        api.stopProcessGroup(group)
        api.removeProcessGroup(group)
        changed = True
    _end_strays(spec, api)
    for group in added + altered:
        api.addProcessGroup(group)
        changed = True
    kept = []
    for process in api.getAllProcessInfo():
        if process["statename"] in ("STOPPED", "EXITED", "FATAL"):
            _start_one(api, process)
            changed = True
        elif process["pid"] in before and process["statename"] == UP:
            kept.append(process["group"])
    return changed, kept


def _is_in_root(spec, pid):
    """Whether a daemon works in the root that is there, and not in one that was removed."""
    try:
        return os.path.samefile("/proc/%d/cwd" % pid, spec["root"])
    except OSError:
        return False


def _start_one(api, process):
    try:
        api.startProcess("%s:%s" % (process["group"], process["name"]), False)
    except xmlrpc.client.Fault as fault:
        if "ALREADY_STARTED" not in fault.faultString:
            raise HostProblem(
                "SERVICE_FAILED", "%s can't be started: %s" % (process["group"], fault.faultString)
            )


def restart(spec, names):
    """Stop and start services of the running daemon."""
    api = _api(spec)
    for process in api.getAllProcessInfo() if api else []:
        if process["group"] in names:
            api.stopProcessGroup(process["group"])
            _start_one(api, process)


def _spawn(spec, configuration):
    variables = dict(spec["variables"])
    variables[procs.SERVICES_VARIABLE] = spec["uuid"]
    place.discard(_socket(spec))
    os.makedirs(spec["sockets"], mode=0o700, exist_ok=True)
    done = subprocess.run(
        [*spec["supervisord"], "-c", configuration],
        cwd=spec["root"],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=START_WAIT,
    )
    said = done.stdout.decode("utf-8", "replace").strip().splitlines()
    if done.returncode:
        raise HostProblem("SERVICE_FAILED", "supervisord doesn't start", output=said[-20:])
    limit = time.monotonic() + START_WAIT
    while True:
        api = _api(spec)
        if api:
            break
        if time.monotonic() > limit:
            raise HostProblem(
                "SERVICE_FAILED",
                "supervisord doesn't answer",
                output=tail(place.path(spec, "logs", "supervisord.log")),
            )
        time.sleep(0.02)
    pid = api.getPID()
    note = {"pid": pid, "start": procs.start_time(pid), "socket": _socket(spec)}
    place.write(place.path(spec, "runtime", "daemon.json"), json.dumps(note))


def stop(spec):
    """Every service and the daemon down, for good; return whether anything was up."""
    api = _api(spec)
    found = procs.of_environment(spec["uuid"])
    if api:
        daemon = api.getPID()
        started = procs.start_time(daemon)
        api.shutdown()
        limit = time.monotonic() + STOP_WAIT
        while procs.start_time(daemon) == started and time.monotonic() < limit:
            time.sleep(0.02)
    _end_all(spec)
    place.discard(_socket(spec))
    if os.path.isdir(place.path(spec, "runtime")):
        place.discard(place.path(spec, "runtime", "daemon.json"))
    return bool(found)


def _end_all(spec):
    # again until none is found: a process may have forked while we looked
    for _ in range(5):
        found = {pid: procs.start_time(pid) for pid, _ in procs.of_environment(spec["uuid"])}
        if not found:
            return
        note = _note(spec)
        if note and note["pid"] in found:  # first, or it would start again what we end
            procs.end({note["pid"]: found.pop(note["pid"])}, grace=STOP_WAIT)
        procs.end(found)
    raise HostProblem("SERVICE_FAILED", "processes of this environment can't be ended")


def _note(spec):
    """What was recorded of the daemon: {pid, start, socket}; None unless that process lives."""
    try:
        with open(place.path(spec, "runtime", "daemon.json")) as file:
            note = json.load(file)
    except (OSError, ValueError):
        return None
    return note if procs.start_time(note["pid"]) == note["start"] else None


def _end_strays(spec, api):
    """End processes of this environment that don't descend from its daemon: they forked away."""
    daemon = api.getPID()
    strays = {
        pid: procs.start_time(pid)
        for pid, _ in procs.of_environment(spec["uuid"])
        if daemon not in (pid, *procs.ancestors(pid))
    }
    procs.end(strays)


def states(spec):
    """{service: {state, pid, release, up, given_up}} as the daemon says; empty without one."""
    api = _api(spec)
    found = {}
    for process in api.getAllProcessInfo() if api else []:
        number = process["name"].lstrip("r")
        state = process["statename"]
        found[process["group"]] = {
            "state": state.lower(),
            "pid": process["pid"] or None,
            "release": int(number) if number.isdigit() else None,
            "since": process["start"] if state == UP else None,
            "up": state == UP,
            "given_up": state in GIVEN_UP,
            "word": "exited too often" if state in GIVEN_UP else state.lower(),
        }
    return found


def tail(path, lines=20):
    """The last lines of a log file."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - 64 * 1024))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:]
    except OSError:
        return []


def log(spec, service, lines=20):
    """The last lines that a service wrote."""
    return tail(place.path(spec, "logs", service + ".log"), lines)


def current_services(spec):
    """(number, services) of the current release. Raises `HostProblem` if it is broken."""
    number = releases.current(spec)
    if number is None:
        raise HostProblem("RELEASE_BROKEN", "there is no current release", "Run release first.")
    wrong = releases.problem(spec, number)
    if wrong:
        raise HostProblem("RELEASE_BROKEN", "release %d: %s" % (number, wrong), "Run release.")
    return number, releases.manifest(spec, number)["services"]
