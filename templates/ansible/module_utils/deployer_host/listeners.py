"""Who answers on a port: a health check that somebody else's service passes proves nothing."""

import os
from urllib.parse import urlsplit

from . import checks, procs

LISTEN = {"tcp": "0A", "udp": "07"}  # states in /proc/net; a UDP socket without a peer listens
LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0")


def stranger(service, uuid):
    """Why a port that a service's health checks go to is another's; None if all may be its own."""
    for protocol, port in checked(service):
        listening = listening_on(protocol).get(port)
        own = (listening & _sockets(pid) for pid, _ in procs.of_environment(uuid))
        if listening and not any(own):
            return "%sport %d is answered by a process that is not this environment's" % (
                "UDP " if protocol == "udp" else "",
                port,
            )
    return None


def checked(service):
    """[(protocol, port)] of this host that a service's health checks go to."""
    ports = (_port(way) for way in checks.ways(service))
    return [port for port in ports if port]


def _port(way):
    place = urlsplit(way.get("http") or "//" + (way.get("tcp") or way.get("udp") or ""))
    try:
        host, port = place.hostname, place.port or {"http": 80, "https": 443}.get(place.scheme)
    except ValueError:
        return None
    if port is None or host not in LOCAL:
        return None
    return "udp" if way.get("udp") else "tcp", port


def holders(ports, uuid):
    """{port as text: who listens on it, in words}; None if nobody does, or this environment."""
    listening = listening_on()
    taken = {port: listening[port] for port in ports if port in listening}
    if taken:
        own = set()
        for pid, _ in procs.of_environment(uuid):
            own |= _sockets(pid)
        taken = {port: sockets for port, sockets in taken.items() if not sockets & own}
    found = {str(port): None for port in ports}
    found.update((str(port), "another process") for port in taken)
    for pid in procs.pids() if taken else ():
        held = _sockets(pid)
        for port in [port for port, sockets in taken.items() if sockets & held]:
            found[str(port)] = "%s (pid %d)" % (procs.name(pid), pid)
            del taken[port]
    return found


def ports_of(pid):
    """The ports that a process listens on."""
    held = _sockets(pid)
    return {port for port, sockets in listening_on().items() if sockets & held}


def listening_on(protocol="tcp"):
    """{port: inodes of the sockets that listen on it} (proc_net_tcp.txt of the kernel)."""
    found = {}
    for name in (protocol, protocol + "6"):
        try:
            with open("/proc/net/" + name) as file:
                lines = [line.split() for line in file][1:]
        except OSError:
            continue
        for line in lines:
            if line[3] == LISTEN[protocol]:
                found.setdefault(int(line[1].rpartition(":")[2], 16), set()).add(line[9])
    return found


def _sockets(pid):
    """The inodes of the sockets that a process has open."""
    folder = "/proc/%d/fd" % pid

    def read():
        found = []
        for name in os.listdir(folder):
            try:
                found.append(os.readlink(os.path.join(folder, name)))
            except FileNotFoundError:
                continue  # closed meanwhile; the others are told all the same
        return found

    try:
        targets = procs.peek(pid, read)
    except OSError:
        return set()
    return {target[8:-1] for target in targets if target.startswith("socket:[")}
