"""What a health check asks, how its answers are counted, and how long a look may take."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from deployer import apps
from deployer.apps import render
from deployer.environment.models import Configuration, HealthPolicy
from deployer.errors import FileError
from deployer.lifecycle import hosts
from deployer.paths import Workspace
from e2e.support import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

health = hosts.host_code().health
Checks = hosts.host_code().checks.Checks
POLICY = {"timeout": 20.0, "interval": 0.05, "success_threshold": 2, "failure_threshold": 3}


def check(**way: Any) -> str | None:
    with Checks("/", {"PATH": os.environ["PATH"]}) as ask:
        found: str | None = ask({"name": "web", "environment": {}, "health": way})
    return found


# ---- counting


def test_failures_and_passes_are_counted_in_a_row() -> None:
    counter = health.Counter({"success_threshold": 2, "failure_threshold": 3}, healthy=True)

    seen = []
    for passed in (False, False, True, False):
        counter.add(passed)
        seen.append((counter.failures, counter.passes, counter.healthy))

    assert seen == [(1, 0, True), (2, 0, True), (0, 1, True), (1, 0, True)]
    assert [counter.add(passed) for passed in (False, False)] == [True, False]
    assert [counter.add(passed) for passed in (True, False, True, True)] == [False] * 3 + [True]


def test_an_older_record_has_the_thresholds_of_today() -> None:
    old = {"timeout": 7.0, "interval": 0.5, "success_threshold": 2}

    assert health.policy({"health": old}) == HealthPolicy(timeout=7).model_dump()
    assert health.policy({}) == HealthPolicy().model_dump()


# ---- a look


def service(name: str, **way: Any) -> dict[str, Any]:
    return {"name": name, "environment": {}, "health": way or {"tcp": "127.0.0.1:1"}}


def test_one_lost_answer_is_no_bad_health() -> None:
    asked = count(1)

    found = health.unhealthy(
        [service("web")], lambda _: None if next(asked) > 1 else "lost", POLICY
    )

    assert found == {}
    assert next(asked) == 3


def test_a_service_is_unhealthy_after_so_many_failures_and_no_check_more() -> None:
    asked: list[float] = []

    def ask(_: object) -> str:
        asked.append(time.monotonic())
        return f"failure {len(asked)}"

    found = health.unhealthy([service("web")], ask, POLICY)

    assert found == {"web": "failure 3"}
    assert len(asked) == 3
    assert asked[2] - asked[0] >= 2 * POLICY["interval"] * 0.9


def test_a_healthy_look_makes_one_check_of_each_service() -> None:
    asked: list[str] = []

    def ask(one: dict[str, Any]) -> None:
        asked.append(one["name"])

    assert health.unhealthy([service("a"), service("b")], ask, POLICY) == {}
    assert sorted(asked) == ["a", "b"]


def test_services_that_hang_cost_one_timeout_and_little_more() -> None:
    hanging = [service(name, timeout=1.0) for name in "abcd"]

    def ask(one: dict[str, Any]) -> str | None:
        if one["name"] == "well":
            return None
        time.sleep(1.0)
        return "no answer"

    began = time.monotonic()
    found = health.unhealthy([*hanging, service("well")], ask, POLICY)

    assert found == dict.fromkeys("abcd", "no answer")
    assert time.monotonic() - began < 4  # one after the other, three times each: 12


def test_a_long_interval_does_not_make_a_look_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "SPAN", 0.6)
    began = time.monotonic()

    found = health.unhealthy([service("web")], lambda _: "no", {**POLICY, "interval": 600.0})

    assert found == {"web": "no"}
    assert 0.3 < time.monotonic() - began < 5


def test_a_check_that_never_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "SPAN", 0.2)
    monkeypatch.setattr(health, "GRACE", 0.2)
    for_ever = threading.Event()

    found = health.unhealthy([service("web", timeout=0.1)], lambda _: for_ever.wait(), POLICY)

    assert found == {"web": "its check doesn't end"}
    for_ever.set()


def test_a_service_gets_the_whole_first_wait_before_it_is_restarted() -> None:
    began = time.monotonic()

    def later(_: object) -> str | None:
        return None if time.monotonic() - began > 0.5 else "not yet"

    assert health.unhealthy([service("web")], later, POLICY, span=1.0) == {}
    assert health.unhealthy([service("web")], lambda _: "never", POLICY, span=0.5) == {
        "web": "never"
    }


def test_run_waits_for_passes_in_a_row_and_gives_up_on_what_fails() -> None:
    asked = count(1)

    def look(some: list[dict[str, Any]]) -> dict[str, str]:
        wrong = {"sick": "503"} if any(one["name"] == "sick" for one in some) else {}
        if any(one["name"] == "web" for one in some) and next(asked) == 2:
            wrong["web"] = "a slip"
        return wrong

    states = {"web": (True, False, ""), "sick": (True, False, ""), "dead": (False, True, "ended")}
    healthy, failed = health.wait(
        [service(name) for name in states], lambda: states, look, POLICY, 1.0
    )

    assert set(healthy) == {"web"}
    assert next(asked) == 5  # pass, slip, pass, pass
    assert failed == {"sick": "503", "dead": "it ended"}


# ---- http


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ready\n")
            self.server.over.wait(10)  # type: ignore[attr-defined]
            return
        if self.path == "/slow":
            self.server.over.wait(10)  # type: ignore[attr-defined]
        body = f"key={self.headers['X-Key']} agent={self.headers.get_all('User-Agent')}".encode()
        self.send_response(int(self.path[1:]) if self.path[1:].isdigit() else 200)
        self.send_header("Location", "/200")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.over = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.over.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def test_a_status_is_fine_from_200_to_399_or_as_named(site: str) -> None:
    assert check(http=f"{site}/204") is None
    assert check(http=f"{site}/302", body="key=") is None  # not followed
    assert check(http=f"{site}/503") == f"{site}/503 answered 503"
    assert check(http=f"{site}/401", status=[401, 403]) is None
    assert check(http=f"{site}/200", status=[401, 403]) == f"{site}/200 answered 200"


def test_the_body_must_have_the_text_that_is_wanted(site: str) -> None:
    assert check(http=f"{site}/", body="agent=['deployer']") is None
    assert check(http=f"{site}/", body="up") == f"{site}/ answered 200, but without 'up'"
    assert check(http=f"{site}/endless", body="ready") is None
    assert check(http=f"{site}/endless", body="up", timeout=0.3) == (
        f"{site}/endless: no answer within 0.3 s"
    )


def test_headers_are_sent_and_replace_our_own(site: str) -> None:
    way = {"http": f"{site}/", "headers": {"X-Key": "s e s a m e", "user-agent": "probe"}}

    assert check(**way, body="key=s e s a m e agent=['probe']") is None


def test_a_check_has_its_own_time(site: str) -> None:
    began = time.monotonic()

    assert check(http=f"{site}/slow", timeout=0.2) == f"{site}/slow: no answer within 0.2 s"
    assert time.monotonic() - began < 2


# ---- several


def test_of_several_checks_all_must_pass(site: str) -> None:
    fine, wrong = {"http": f"{site}/204"}, {"http": f"{site}/503"}

    def found(*ways: dict[str, str]) -> str | None:
        with Checks("/", {}) as ask:
            said: str | None = ask({"name": "web", "environment": {}, "health": list(ways)})
        return said

    assert found(fine, fine) is None
    assert found(fine, wrong) == found(wrong, fine) == f"{site}/503 answered 503"


# ---- udp


@contextmanager
def udp(answer: Callable[[bytes], list[bytes]]) -> Iterator[int]:
    """A server that answers datagrams; an empty one ends it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]

        def serve() -> None:
            while True:
                asked, peer = server.recvfrom(4096)
                if not asked:
                    return
                for one in answer(asked):
                    server.sendto(one, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield port
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                end.sendto(b"", ("127.0.0.1", port))
            thread.join()


def test_any_datagram_that_comes_back_is_health_or_the_one_that_is_wanted() -> None:
    with udp(lambda asked: [b"first", b"re: " + asked]) as port:
        way = {"udp": f"127.0.0.1:{port}", "send": b"\x00\xffPING".hex(), "timeout": 1.0}

        assert check(**way) is None
        assert check(**way, body="PING") is None
        assert check(**way, body="PONG") == f"127.0.0.1:{port} answered, but without 'PONG'"
        # ::1 refuses, where there is one
        assert check(**{**way, "udp": f"localhost:{port}"}) is None


def test_silence_and_a_closed_port_are_no_health() -> None:
    with udp(lambda _: []) as port:
        way = {"udp": f"127.0.0.1:{port}", "send": b"PING".hex(), "timeout": 0.2}
        assert check(**way) == f"127.0.0.1:{port}: no answer within 0.2 s"
    began = time.monotonic()

    refused = check(**{**way, "timeout": 5.0})

    assert refused is not None and "refused" in refused
    assert time.monotonic() - began < 2


# ---- commands


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = ["sh", "-c", f"sleep 60 & echo $! >>{pids}; wait"]

    assert check(command=command, timeout=1.0) == "sh took over 1 s"

    (pid,) = map(int, pids.read_text().split())
    until("what it started has ended", lambda: has_ended(pid))


def test_a_look_that_knows_enough_leaves_no_command_behind(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    # the first one hangs, the next one passes
    script = f"[ -s {pids} ] && exit 0; echo $$ >{pids}; sleep 60"
    web = service("web", command=["sh", "-c", script], timeout=30.0)
    began = time.monotonic()

    with Checks(str(tmp_path), {"PATH": os.environ["PATH"]}) as ask:
        assert health.unhealthy([web], ask, {**POLICY, "interval": 0.5}) == {}

    assert time.monotonic() - began < 10
    until("it has ended", lambda: has_ended(int(pids.read_text())))


def test_a_command_says_why_with_its_last_line() -> None:
    assert check(command=["sh", "-c", "echo one; echo no disk >&2; exit 3"]) == (
        "sh exited 3: no disk"
    )
    missing = check(command=["no-such-program"])
    assert missing is not None and "No such file" in missing


# ---- the manifest


def rendered(folder: Path, line: str, **settings: Any) -> dict[str, Any]:
    """What hosts get of the line `health = …` of an app.toml."""
    app = folder / "app"
    app.mkdir(exist_ok=True)
    (app / "app.toml").write_text(
        'name = "app"\n[settings.port]\ntype = "port"\ndefault = 6969\n'
        f'[[services]]\nname = "web"\ncommand = ["true"]\nhealth = {line}\n'
    )
    found = apps.find(Workspace(folder, folder / ".deployer"), "./app")
    configuration = Configuration(
        "demo", "./app", "local", "supervisor", settings={"port": 6969, **settings}
    )
    target = render.Target("localhost", "127.0.0.1", "127.0.0.1", "/srv")
    made = render.render(found, configuration, target, folder, 1, datetime.now(UTC))
    way: dict[str, Any] = made.services[0]["health"]
    return way


def test_a_check_without_new_keys_is_rendered_as_older_releases_have_it(tmp_path: Path) -> None:
    old = {"http": "http://127.0.0.1:6969/", "tcp": None, "command": None}

    assert rendered(tmp_path, '{ http = "http://127.0.0.1:{{ settings.port }}/" }') == old
    assert rendered(tmp_path, '{ http = "http://127.0.0.1:6969/", timeout = 5 }') == old


def test_new_keys_reach_the_host(tmp_path: Path) -> None:
    http = rendered(
        tmp_path,
        '{ http = "http://localhost/", status = 204, body = "on {{ settings.port }}",'
        ' headers = { Host = "h{{ settings.port }}" }, timeout = 2 }',
    )
    assert {key: value for key, value in http.items() if value} == {
        "http": "http://localhost/",
        "status": [204],
        "body": "on 6969",
        "headers": {"Host": "h6969"},
        "timeout": 2,
    }
    for send in ('send = "PING"', 'send_hex = "50 494E 47"'):
        found = rendered(tmp_path, f'{{ udp = "localhost:{{{{ settings.port }}}}", {send} }}')
        assert (found["udp"], found["send"]) == ("localhost:6969", "50494e47")


def test_of_several_checks_each_reaches_the_host(tmp_path: Path) -> None:
    one, two = '{ tcp = "127.0.0.1:{{ settings.port }}" }', '{ command = ["true"] }'

    found: Any = rendered(tmp_path, f"[{one}, {two}]")

    assert [(way["tcp"], way["command"]) for way in found] == [
        ("127.0.0.1:6969", None),
        (None, ["true"]),
    ]
    assert rendered(tmp_path, f"[{one}]") == rendered(tmp_path, one)


WRONG = {
    '[{ command = ["a"] }, { tcp = "a" }]': "services[0].health[1].tcp: 'a' is not an address like",
    '[{ command = ["a"] }, { tpc = "a" }]': "services[0].health[1].tpc: there is no such key",
    "[]": "services[0].health",
    '{ tpc = "a:1" }': "services[0].health.tpc: there is no such key (did you mean 'tcp'?)",
    '{ tcp = "a:1", command = ["b"] }': "name exactly one of http, tcp, udp and command",
    '{ udp = "a:1" }': "udp needs either send or send_hex",
    '{ udp = "a:1", send = "x", send_hex = "00" }': "udp needs either send or send_hex",
    '{ udp = "a:1", send_hex = "0x12" }': "'0x12' is not hexadecimal, like '0a ff'",
    '{ tcp = "a:1", send = "x" }': "send goes with udp only",
    '{ tcp = "a:1", status = 200 }': "status goes with http only",
    '{ command = ["a"], body = "x" }': "body goes with http or udp only",
    '{ http = "http://a/", status = 99 }': "services[0].health.status",
    '{ http = "http://a/", status = "200" }': "services[0].health.status: must be a list",
    '{ http = "http://a/", headers = { "a b" = "c" } }': "'a b' is not the name of a header",
    '{ http = "http://a/", headers = { a = "b\\r\\nc: d" } }': "characters that no header may have",
    '{ http = "http://a/", timeout = 31 }': "services[0].health.timeout",
    '{ http = "http:/wikipedia.org/" }': "'http:/wikipedia.org/' is not a URL like",
    '{ http = "http://a:x/" }': "'http://a:x/' is not a URL like",
    '{ http = "127.0.0.1:80" }': "'127.0.0.1:80' is not a URL like",
    '{ tcp = "localhost" }': "services[0].health.tcp: 'localhost' is not an address like",
    '{ udp = "a:{{ settings.port }}0", send = "x" }': "'a:69690' is not an address like",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_check_that_can_only_fail_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    with pytest.raises(FileError) as refused:
        rendered(tmp_path, line)

    (finding,) = refused.value.findings
    assert WRONG[line] in str(finding)
    assert finding.line == 8
