"""A health check that somebody else's service passes proves nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deployer.lifecycle import hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTEN = """
import socket, sys
if sys.argv[1] == "udp":
    server = socket.socket(type=socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
else:
    server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def listener(uuid: str, protocol: str = "tcp") -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-c", LISTEN, protocol],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "DEPLOYER_SERVICES": uuid},
    )
    assert process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.communicate()


def stranger(health: dict[str, str] | list[dict[str, str]], uuid: str) -> str | None:
    found: str | None = hosts.host_code().listeners.stranger({"health": health}, uuid)
    return found


def test_a_port_that_another_environment_answers_on_is_no_health() -> None:
    with listener("theirs") as port:
        for health in ({"http": f"http://127.0.0.1:{port}/"}, {"tcp": f"localhost:{port}"}):
            assert stranger(health, "theirs") is None
            found = stranger(health, "ours")
            assert found is not None and str(port) in found


def test_a_udp_port_is_told_from_a_tcp_port() -> None:
    with listener("theirs", "udp") as port:
        health = {"udp": f"127.0.0.1:{port}", "send": "00"}
        assert stranger(health, "theirs") is None
        assert stranger(health, "ours") == (
            f"UDP port {port} is answered by a process that is not this environment's"
        )
        assert stranger({"tcp": f"127.0.0.1:{port}"}, "ours") is None


def test_what_cannot_be_judged_is_left_to_the_check_itself() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert stranger({"http": f"http://127.0.0.1:{port}/"}, "ours") is None
    assert stranger({"http": "http://192.0.2.1:80/"}, "ours") is None
    assert stranger({"command": "true"}, "ours") is None


def test_a_port_is_told_with_who_has_it_unless_that_is_this_environment() -> None:
    with listener("theirs") as port:
        holders = hosts.host_code().listeners.holders

        assert holders([port], "theirs") == {str(port): None}
        told = holders([port], "ours")[str(port)]
        assert told is not None and "(pid " in told
    assert holders([port], "ours") == {str(port): None}


def test_of_several_checks_each_ports_owner_is_looked_at() -> None:
    with listener("ours") as own, listener("theirs") as other:
        health = [{"tcp": f"127.0.0.1:{own}"}, {"tcp": f"127.0.0.1:{other}"}]

        assert stranger(health[:1], "ours") is None
        assert stranger(health, "ours") == (
            f"port {other} is answered by a process that is not this environment's"
        )
