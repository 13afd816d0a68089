"""One check of a service's health, seen from its own host: by HTTP, TCP, UDP or a command."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from urllib.parse import urlsplit

TIMEOUT = 5.0  # seconds for one check, where a service doesn't say
FINE = range(200, 400)  # statuses
BODY_BYTES = 1 << 20  # so much of an answer is searched
FAILURES = (OSError, ValueError, http.client.HTTPException, subprocess.SubprocessError)


class Checks:
    """Checks of a release's services, from any thread; when it closes, their commands end.

    A command runs in `cwd` with `variables`, as the service does; `become` makes it its user.
    """

    def __init__(self, cwd, variables, become=None):
        self._cwd, self._variables, self._become = cwd, variables, become
        self._running = set()
        self._closed = False
        self._lock = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self._lock:
            self._closed = True
            for process in self._running:
                _kill(process)

    def __call__(self, service):
        """The checks of a service in turn. Returns None if all passed, else why one didn't."""
        for way in ways(service):
            problem = self._check(service, way)
            if problem is not None:
                return problem
        return None

    def _check(self, service, way):
        patience = way.get("timeout") or TIMEOUT
        shown = (
            way.get("http") or way.get("tcp") or way.get("udp") or (way.get("command") or "?")[0]
        )
        try:
            if way.get("http"):
                return _http(way, patience)
            if way.get("tcp"):
                socket.create_connection(_address(way["tcp"]), patience).close()
            elif way.get("udp"):
                return _udp(way, patience)
            elif way.get("command"):
                return self._command(way["command"], service["environment"], patience)
        except socket.timeout:
            return "%s: no answer within %g s" % (shown, patience)
        except FAILURES as error:
            return "%s: %s" % (shown, error)
        return None

    def _command(self, command, environment, patience):
        with self._lock:
            if self._closed:
                return "%s: not run" % command[0]
            process = subprocess.Popen(
                command,
                cwd=self._cwd,
                env=dict(self._variables, **environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that what it starts ends with it
                preexec_fn=self._become,
            )
            self._running.add(process)
        try:
            said, _ = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            return "%s took over %g s" % (command[0], patience)
        finally:
            with self._lock:
                self._running.discard(process)
                if process.returncode is None:
                    _kill(process)
                    process.wait()
                    process.stdout.close()
        if process.returncode == 0:
            return None
        last = said.decode("utf-8", "replace").strip().splitlines()[-1:]
        return "%s exited %d%s" % (command[0], process.returncode, ": " + last[0] if last else "")


def ways(service):
    """The checks of a service: a release has one as it is, several as a list."""
    found = service.get("health") or []
    return [found] if isinstance(found, dict) else found


def timeout(service):
    """Seconds that all checks of a service may take, one after the other."""
    return sum(way.get("timeout") or TIMEOUT for way in ways(service))


def _kill(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        pass  # it has ended


def _address(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _left(limit):
    """Seconds until `limit`, for a socket: zero would mean that it doesn't wait."""
    return max(0.001, limit - time.monotonic())


def _http(way, patience):
    limit = time.monotonic() + patience
    url = way["http"]
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if parts.scheme == "https":
        # it asks its own host whether it lives, not who it is
        unverified = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(
            parts.hostname, port, timeout=patience, context=unverified
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, port, timeout=patience)
    headers = dict(way.get("headers") or {})
    given = {name.lower() for name in headers}
    for name, value in (("User-Agent", "deployer"), ("Connection", "close")):
        if name.lower() not in given:
            headers[name] = value
    try:
        target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        connection.request("GET", target, headers=headers)
        plug = connection.sock
        plug.settimeout(_left(limit))
        answer = connection.getresponse()
        if answer.status not in (way.get("status") or FINE):
            return "%s answered %d" % (url, answer.status)
        wanted = way.get("body")
        if wanted and not _holds(answer, wanted.encode(), plug, limit):
            return "%s answered %d, but without %r" % (url, answer.status, wanted)
    finally:
        connection.close()
    return None


def _holds(answer, wanted, plug, limit):
    """Whether an answer's body has `wanted` in it; one that never ends is read no further."""
    seen = b""
    # from Python 3.13 on an answer that was read to its end is closed, and its socket with it
    while wanted not in seen and len(seen) < BODY_BYTES and not answer.isclosed():
        if time.monotonic() >= limit:
            raise socket.timeout
        plug.settimeout(_left(limit))
        part = answer.read1(1 << 16)
        if not part:
            return False
        seen += part
    return wanted in seen


def _udp(way, patience):
    """Send a datagram and wait for one that comes back, with `body` in it if that is wanted."""
    limit = time.monotonic() + patience
    host, port = _address(way["udp"])
    refused = None
    for family, kind, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
        with socket.socket(family, kind) as plug:
            try:
                plug.connect(address)  # so that a closed port is told
                plug.send(bytes.fromhex(way.get("send") or ""))
                return _datagram(way, plug, limit)
            except socket.timeout:
                raise
            except OSError as error:
                refused = error  # `localhost` is two addresses
    raise refused


def _datagram(way, plug, limit):
    wanted = way.get("body") or ""
    others = 0
    while time.monotonic() < limit:
        plug.settimeout(_left(limit))
        try:
            if wanted.encode() in plug.recv(1 << 16):
                return None
        except socket.timeout:
            break
        others += 1
    if not others:
        raise socket.timeout
    return "%s answered, but without %r" % (way["udp"], wanted)
