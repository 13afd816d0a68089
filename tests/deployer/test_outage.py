"""How long a service is away while it is replaced is measured, not guessed."""

from __future__ import annotations

import socket
import threading
from typing import Any

from deployer.lifecycle import hosts


def outage(*services: dict[str, Any]) -> Any:
    return hosts.host_code().outage.Outage(list(services))


def service(name: str, port: int) -> dict[str, Any]:
    return {"name": name, "health": {"http": f"http://127.0.0.1:{port}/"}}


def test_a_port_that_nobody_listens_on_for_a_while_is_timed() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    away = threading.Event()

    with outage(service("web", port)) as watched:
        server.close()
        away.wait(0.2)
        server = socket.create_server(("127.0.0.1", port))

    told = watched.told()
    server.close()
    assert 0.1 <= told["web"] < 5


def test_it_goes_on_until_the_service_is_back() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    back: list[socket.socket] = []
    later = threading.Timer(0.2, lambda: back.append(socket.create_server(("127.0.0.1", port))))

    with outage(service("web", port)) as watched:
        server.close()
        later.start()

    later.join()
    told = watched.told()
    back[0].close()
    assert told["web"] >= 0.1


def test_what_never_was_away_and_what_never_was_there_are_not_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        there, absent = server.getsockname()[1], unused.getsockname()[1]

        watching = outage(service("web", there), service("new", absent), {"name": "worker"})
        with watching as watched:
            pass

    assert watched.told() == {}
