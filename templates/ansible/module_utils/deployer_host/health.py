"""Is a service healthy? Seen from its own host."""

import http.client
import socket
import ssl
import subprocess
import time
from urllib.parse import urlsplit

CHECK_TIMEOUT = 5.0  # seconds for one check


def check(service, cwd, variables):
    """One check of a service. Returns None if it passed, else why not, in words.

    A command runs in `cwd` with `variables`, as the service does.
    """
    way = service.get("health") or {}
    try:
        if way.get("http"):
            return _http(way["http"])
        if way.get("tcp"):
            host, _, port = way["tcp"].rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), CHECK_TIMEOUT).close()
        elif way.get("command"):
            return _command(service, cwd, variables)
    except (OSError, http.client.HTTPException, ValueError) as error:
        shown = way.get("http") or way.get("tcp") or way["command"][0]
        return "%s: %s" % (shown, error)
    return None


def _http(url):
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if parts.scheme == "https":
        # it asks its own host whether it lives, not who it is
        unverified = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(
            parts.hostname, port, timeout=CHECK_TIMEOUT, context=unverified
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, port, timeout=CHECK_TIMEOUT)
    try:
        target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        connection.request("GET", target, headers={"User-Agent": "deployer", "Connection": "close"})
        status = connection.getresponse().status
    finally:
        connection.close()
    return None if 200 <= status < 400 else "%s answered %d" % (url, status)


def _command(service, cwd, variables):
    command = service["health"]["command"]
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=dict(variables, **service["environment"]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=CHECK_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return "%s took over %d s" % (command[0], CHECK_TIMEOUT)
    if done.returncode == 0:
        return None
    said = done.stdout.decode("utf-8", "replace").strip().splitlines()[-1:]
    return "%s exited %d%s" % (command[0], done.returncode, ": " + said[0] if said else "")


def wait(services, states, check, policy, patience):
    """Wait until each service is up and passed its check often enough in a row.

    `states()` gives {name: (up, given up, word)}, `check(service)` is None or why not. Gives up
    after `patience` seconds on each that doesn't pass, on one as soon as its runtime has. Returns
    ({name: seconds}, {name: why not}).
    """
    started = time.monotonic()
    row = dict.fromkeys((service["name"] for service in services), 0)
    healthy, failed, last = {}, {}, {}
    while True:
        seen = states()
        for service in services:
            name = service["name"]
            if name in healthy or name in failed:
                continue
            up, given_up, word = seen.get(name, (False, False, "not there"))
            if given_up:
                failed[name] = "it " + word
                continue
            wrong = check(service) if up else "it is %s" % word
            row[name] = 0 if wrong else row[name] + 1
            last[name] = wrong
            wanted = policy["success_threshold"] if service.get("health") else 1
            if row[name] >= wanted:
                healthy[name] = time.monotonic() - started
        waiting = [
            s["name"] for s in services if s["name"] not in healthy and s["name"] not in failed
        ]
        if not waiting:
            return healthy, failed
        if time.monotonic() - started >= patience:
            # what passes may finish its row: another service's slow check took the time
            failed.update((name, last[name]) for name in waiting if last[name])
            waiting = [name for name in waiting if not last[name]]
            if not waiting:
                return healthy, failed
        # what is only coming up costs nothing to look at again; checks keep their interval
        checked = any(seen.get(name, (False,))[0] for name in waiting)
        time.sleep(policy["interval"] if checked else min(policy["interval"], 0.1))
