"""Health decides over UDP too: a lost answer restarts nothing, silence does."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from e2e.support import Environment, Site, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST = """
name = "echo"
requires = ["python3"]

[settings.port]
type = "port"

[[services]]
name = "web"
command = ["python3", "echo.py", "{{ settings.port }}"]
health = { udp = "127.0.0.1:{{ settings.port }}", send = "PING", body = "PONG", timeout = 0.5 }
"""
SERVER = """
import socket, sys

server = socket.socket(type=socket.SOCK_DGRAM)
server.bind(("127.0.0.1", int(sys.argv[1])))
lost = asked = 0
while True:
    said, peer = server.recvfrom(100)
    if said.startswith(b"LOSE "):
        lost, asked = int(said[5:]), 0
        server.sendto(b"so be it", peer)
    elif said == b"COUNT":
        server.sendto(b"%d" % asked, peer)
    elif lost:
        lost, asked = lost - 1, asked + 1
    else:
        asked += 1
        server.sendto(b"PONG", peer)
"""


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    site = Site(tmp_path_factory.mktemp("echo"))
    app = site.root / "app"
    app.mkdir()
    (app / "app.toml").write_text(MANIFEST)
    (app / "echo.py").write_text(SERVER)
    try:
        quick = ("--set", "health.interval=0.2", "--set", "health.success_threshold=1")
        site.run("create", "echo", "--app", "./app", "--set", f"port={free_port()}", *quick)
        environment = Environment(site, "echo")
        environment("deploy")
        yield environment
    finally:
        site.tear_down()


def say(echo: Environment, words: str) -> str:
    with socket.socket(type=socket.SOCK_DGRAM) as plug:
        plug.settimeout(10)
        plug.connect(("127.0.0.1", echo.record.config["settings"]["port"]))
        plug.send(words.encode())
        return plug.recv(100).decode()


def test_a_lost_answer_restarts_nothing(echo: Environment) -> None:
    pid = echo.service("web").pid
    say(echo, "LOSE 1")

    assert echo("deploy").verbs == []

    assert int(say(echo, "COUNT")) >= 2
    assert echo.service("web").pid == pid


def test_a_service_that_answers_no_more_is_told_and_restarted(echo: Environment) -> None:
    pid = echo.service("web").pid
    port = echo.record.config["settings"]["port"]
    say(echo, "LOSE 100000")

    seen = echo("status").data["seen"]["localhost"]["services"]["web"]

    assert not seen["healthy"]
    assert seen["problem"] == f"127.0.0.1:{port}: no answer within 0.5 s"
    assert say(echo, "COUNT") == "3"
    assert echo("deploy").verbs == ["run"]
    assert echo.service("web").pid != pid
