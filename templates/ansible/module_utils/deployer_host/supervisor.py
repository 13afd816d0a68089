"""The runtime `supervisor`: one private daemon an environment, reached by its own socket."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
import xmlrpc.client

from . import logs, place, procs, users
from .problem import HostProblem

UP = "RUNNING"
GIVEN_UP = ("FATAL", "UNKNOWN")
DOWN = ("STOPPED", "EXITED", "FATAL")
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
    """See that supervisor is here; there is nothing to change."""
    if not installed(spec):
        raise HostProblem(
            "TOOL_MISSING",
            "supervisor is not installed on %s" % spec["host"],
            "Install the package supervisor there.",
        )
    return False


def installed(spec):
    """Whether supervisor is here."""
    return bool(spec.get("supervisord")) and shutil.which(spec["supervisord"][0]) is not None


def warnings(spec):
    """There is nothing to know of it that its install would not refuse."""
    return []


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
        *(["user=root"] if spec["user"] else []),  # it says so itself, else warns at each start
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
            *(["user=" + spec["user"]] if spec["user"] else []),
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
    install(spec)
    configuration = place.path(spec, "runtime", "supervisord.conf")
    place.write(configuration, _configuration(spec, services, number))
    before = {pid for pid, _ in procs.of_environment(spec["uuid"])}
    api = _api(spec)
    if api is None or not _is_in_root(spec, api.getPID()):
        # what a lost or killed daemon left behind would stand beside the new services
        _end_daemon(spec, api)
        procs.end_environment(spec["uuid"])
        _spawn(spec, configuration)
        return True, []
    changed = False
    added, altered, removed = api.reloadConfig()[0]
    _stop_groups(api, {*removed, *altered})
    for group in removed + altered:
        api.removeProcessGroup(group)
        changed = True
    _end_strays(spec, api)
    for group in added + altered:
        api.addProcessGroup(group)
        changed = True
    kept = []
    for process in api.getAllProcessInfo():
        if process["statename"] in DOWN:
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
    if api is None:
        return
    _stop_groups(api, names)
    for process in api.getAllProcessInfo():
        if process["group"] in names:
            _start_one(api, process)


def _stop_groups(api, groups):
    """Services down, all at once: the daemon by itself would look at each only once a second."""
    for group in groups:
        api.stopProcessGroup(group, False)
    limit = time.monotonic() + STOP_WAIT
    while True:
        seen = api.getAllProcessInfo()  # which also makes the daemon look
        left = [p for p in seen if p["group"] in groups and p["statename"] not in DOWN]
        if not left:
            return
        if time.monotonic() > limit:
            raise HostProblem("SERVICE_FAILED", "%s doesn't stop" % left[0]["group"])
        time.sleep(0.02)


def _spawn(spec, configuration):
    variables = users.variables(spec)
    variables[procs.SERVICES_VARIABLE] = spec["uuid"]
    place.discard(_socket(spec))
    place.private(spec["sockets"])
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
                output=logs.last(spec, "supervisord"),
            )
        time.sleep(0.02)
    pid = api.getPID()
    note = {"pid": pid, "start": procs.start_time(pid), "socket": _socket(spec)}
    place.write(place.path(spec, "runtime", "daemon.json"), json.dumps(note))


def stop(spec):
    """The daemon and its services down, for good; return whether it was up."""
    api = _api(spec)
    if not api and not _note(spec):
        return False
    _end_daemon(spec, api)
    place.discard(_socket(spec))
    place.discard(place.path(spec, "runtime", "daemon.json"))
    return True


def _end_daemon(spec, api):
    """End the daemon: first, or it would start again what is ended of its services."""
    note = _note(spec)
    if api:
        daemon = api.getPID()
        started = procs.start_time(daemon)
        api.shutdown()
        limit = time.monotonic() + STOP_WAIT
        while procs.start_time(daemon) == started and time.monotonic() < limit:
            time.sleep(0.02)
    elif note:
        procs.end({note["pid"]: note["start"]}, grace=STOP_WAIT)


def remove(spec):
    """Nothing of it lies outside the root."""
    return False


def traces(spec):
    """Nothing of it lies outside the root."""
    return False


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


def log(spec, service, lines=20):
    """The last lines that a service wrote."""
    return logs.last(spec, service, lines)
