"""Times of log lines, in the forms that services write."""

from __future__ import annotations

import importlib
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from deployer.lifecycle import hosts


def dates() -> Any:
    hosts.host_code()
    return importlib.import_module("deployer_host.dates")


MOMENT = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC).timestamp()
LOCAL = datetime(2026, 3, 1, 12, 30, 15).timestamp()
NOISE = ["Traceback (most recent call last):", '  File "x.py"', "listening on 10:20:30", ""]


@pytest.mark.parametrize(
    ("line", "when"),
    [
        ("2026-03-01T12:30:15Z started", MOMENT),
        ("2026-03-01T13:30:15.250+01:00 started", MOMENT + 0.25),
        ("2026-03-01 10:30:15-0200 started", MOMENT),
        ("2026-03-01 12:30:15,500 INFO started", LOCAL + 0.5),
        ("2026/03/01 12:30:15 [error] 17#17: gone", LOCAL),
        ("INFO:root:2026-03-01 12:30:15 UTC ready", MOMENT),
        ('127.0.0.1 - - [01/Mar/2026:12:30:15 +0000] "GET / HTTP/1.1" 200', MOMENT),
        ('127.0.0.1 - - [01/Mar/2026 12:30:15] "GET / HTTP/1.1" 200 -', LOCAL),
        ('{"level":"info","ts":1772368215.75,"msg":"up"}', MOMENT + 0.75),
        ('{"time":"2026-03-01T12:30:15Z","msg":"up"}', MOMENT),
        ("2026-13-41 99:99:99 nonsense", None),
        *((line, None) for line in NOISE),
    ],
)
def test_the_time_of_a_line_is_read(line: str, when: float | None) -> None:
    assert dates().written(line) == when


def test_a_time_without_a_year_is_never_far_in_the_future() -> None:
    ahead = time.time() + 40 * 86_400

    found = dates().written(time.strftime("%b %d %H:%M:%S", time.localtime(ahead)))

    assert found < time.time()


def test_lines_from_a_moment_on_have_what_belongs_to_them() -> None:
    lines = [
        "2026-03-01T12:00:00Z old",
        "  more of the old",
        "2026-03-01T13:00:00Z new",
        "  more of the new",
    ]
    since = dates().since

    assert since(lines, MOMENT) == lines[2:]
    assert since(lines, MOMENT + 86_400) == []
    assert since(NOISE, MOMENT) == NOISE
