"""Who answers on a port: a health check that somebody else's service passes proves nothing."""

import os
from urllib.parse import urlsplit

from . import procs

LISTEN = "0A"  # the state in /proc/net/tcp
LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0")


def stranger(service, uuid):
    """Why the port of a service's health check is not its own, in words; None if it may be."""
    way = service.get("health") or {}
    place = urlsplit(way.get("http") or "//" + (way.get("tcp") or ""))
    try:
        host, port = place.hostname, place.port or {"http": 80, "https": 443}.get(place.scheme)
    except ValueError:
        return None
    if port is None or host not in LOCAL:
        return None
    listening = _listening(port)
    if not listening:
        return None
    for pid, _ in procs.of_environment(uuid):
        if listening & _sockets(pid):
            return None
    return "port %d is answered by a process that is not this environment's" % port


def _listening(port):
    """The inodes of the sockets that listen on a port (proc_net_tcp.txt of the kernel)."""
    found = set()
    for name in ("tcp", "tcp6"):
        try:
            with open("/proc/net/" + name) as file:
                lines = [line.split() for line in file][1:]
        except OSError:
            continue
        for line in lines:
            if line[3] == LISTEN and int(line[1].rpartition(":")[2], 16) == port:
                found.add(line[9])
    return found


def _sockets(pid):
    folder = "/proc/%d/fd" % pid
    found = set()
    try:
        for name in os.listdir(folder):
            target = os.readlink(os.path.join(folder, name))
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass
    return found
