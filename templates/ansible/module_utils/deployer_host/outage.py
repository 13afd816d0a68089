"""For how long nobody listens where services are looked for, while they are replaced."""

import threading
import time

from . import listeners

STEP = 0.005  # seconds between two looks at the kernel's table
GRACE = 0.1  # seconds in which a service that is back must have been seen


class Outage:
    """Watches the ports of those services that listen when it is opened.

    It is open while services are replaced, and goes on by itself until all are back.
    """

    def __init__(self, services):
        self._seconds = {}
        self._ports = {
            service["name"]: ports[0]
            for service, ports in ((s, listeners.checked(s)) for s in services)
            if ports
        }
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        away = self._away()
        self._ports = {name: port for name, port in self._ports.items() if name not in away}
        if self._ports:
            self._thread.start()
        return self

    def __exit__(self, *_):
        self._closing.set()

    def told(self):
        """{service: seconds that it was away}, of those that were and are back."""
        if self._ports:
            self._thread.join(GRACE)
        return dict(self._seconds)

    def _away(self):
        open_ = {protocol: listeners.listening_on(protocol) for protocol in self._protocols()}
        return {
            name for name, (protocol, port) in self._ports.items() if port not in open_[protocol]
        }

    def _protocols(self):
        return {protocol for protocol, _ in self._ports.values()}

    def _watch(self):
        since = {}
        while True:
            closing = self._closing.is_set()
            away, now = self._away(), time.monotonic()
            for name in away:
                since.setdefault(name, now)
            for name in [name for name in since if name not in away]:
                self._seconds[name] = self._seconds.get(name, 0.0) + now - since.pop(name)
            if closing and not since:
                return
            time.sleep(STEP)
