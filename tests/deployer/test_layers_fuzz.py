"""Configuration that nobody would write, in every layer: always an answer, and a known exit."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from commands.main import run
from deployer.environment.models import EnvironmentFile, HealthPolicy
from tests.deployer.fuzz import PATIENCE, TEXTS, fuzz

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {
    "environments/demo.toml": b'app = "./app"\n[settings]\nword = "{{ settings.port }}"\n',
    "app/app.toml": b"""\
name = "a"
settings.port = { type = "port", default = 8080 }
settings.word = { type = "string", default = "x" }
settings.other = { type = "boolean", default = false }
[[services]]
name = "web"
command = ["true"]
""",
    "deployer.toml": b"",
    "profiles/odd.toml": b"",
    "user/deployer/config.toml": b"",
}
ANSWERS = (0, 2, 3)
KEYS = st.one_of(
    st.sampled_from(
        [
            *EnvironmentFile.model_fields,
            *HealthPolicy.model_fields,
            *("port", "word", "other", "env", "file", "command", "before_run", "{{ x }}", ""),
        ]
    ),
    st.text(max_size=5),
)
PIECES = st.sampled_from(
    [
        *("{{ settings.port }}", "{{ settings.word }}", "{{ settings.other }}", "{{ env.ODD }}"),
        *("{{ env.NO }}", "{{ paths.base }}", "{{ git.branch }}", "{{ now.date }}", "{{ x }}"),
        *("{{", "}}", "{%", "{#", "{{ 9 ** 9 ** 9 }}", "{% for a in 'x' %}{% endfor %}"),
        *("./app", "local", "8080", "true", " ", "\n", "é", "\u2028", "{{ settings }}"),
    ]
)
SCALARS = st.one_of(
    st.lists(PIECES, max_size=4).map("".join),
    st.text(max_size=8),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from([1, 60, 8080]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=6)

TEXT = st.lists(PIECES, max_size=2).map("".join)
PLAUSIBLE = st.fixed_dictionaries(
    {},
    optional={
        "settings": st.fixed_dictionaries(
            {},
            optional={
                "word": TEXT,
                "port": st.one_of(st.integers(1, 65535), TEXT),
                "other": st.one_of(st.booleans(), TEXT),
            },
        ),
        "health": st.fixed_dictionaries({}, optional={"timeout": st.floats(1, 60)}),
        "keep_releases": st.one_of(st.integers(1, 9), st.just("{{ settings.port }}")),
    },
)


def toml(value: Any) -> str:
    """A value as TOML has it."""
    if isinstance(value, dict):
        pairs = (f"{json.dumps(k)} = {toml(v)}" for k, v in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


def document(table: dict[str, Any]) -> str:
    """A file of keys, on top of one that could be read."""
    given = {"app": "./app", **table}
    return "\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in given.items())


CONTENTS = st.one_of(PLAUSIBLE.map(document), TABLES.map(document), TEXTS, TABLES.map(toml)).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)


def call(folder: Path, *more: str, **files: bytes) -> int:
    """`config show` on files of which some are odd; the exit code."""
    for name, content in {**GOOD, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    began = time.monotonic()
    code = run(["-C", str(folder), "config", "show", "demo", "--origin", *more])
    assert time.monotonic() - began < PATIENCE
    return code


@fuzz(40)
@given(
    files=st.dictionaries(st.sampled_from(sorted(GOOD)), CONTENTS, max_size=3),
    profile=st.booleans(),
    said=st.dictionaries(KEYS, SCALARS.map(str), max_size=2),
    variable=st.one_of(st.none(), SCALARS.map(str)),
)
def test_odd_layers_are_read_or_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, bytes],
    profile: bool,
    said: dict[str, str],
    variable: str | None,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("ODD", "{{ settings.word }}\n{% x")
    monkeypatch.delenv("DEPLOYER_SET_HEALTH__TIMEOUT", raising=False)
    if variable is not None:
        odd = variable.replace("\0", "").encode("utf-8", "ignore").decode()
        monkeypatch.setenv("DEPLOYER_SET_HEALTH__TIMEOUT", odd)
    more = ["--config", "odd"] if profile else []
    for key, value in said.items():
        more += ["--set", f"{key}={value}"]

    code = call(tmp_path, *more, **files)

    event(f"exit {code}")
    shown = capsys.readouterr()
    assert code in ANSWERS, shown.err
    assert "Traceback" not in shown.err
    assert bool(shown.out) == (code == 0)


DEEP = 5_000
ODD_FILES = {
    "50 MB": b"#" * 50_000_000,
    "nested lists": b"settings.x = " + b"[" * DEEP + b"]" * DEEP,
    "nested tables": b"settings" + b" = { x" * DEEP + b" = 1" + b" }" * DEEP,
    "nested in moderation": b"settings.x = " + b"[" * 150 + b"]" * 150,
    "a key of many parts": b"a." * 100_000 + b"a = 1",
    "YAML": b"app: guestbook\nsettings:\n  port: 80\n",
    "binary": bytes(range(256)) * 20,
    "NUL": b'app = "./app\0"\n',
    "UTF-16": 'app = "./app"\n'.encode("utf-16"),
    "Latin-1": 'app = "caf\xe9"\n'.encode("latin-1"),
    "settings that are text": b'settings = "{{ x }}"',
    "a list of settings": b'settings = ["{{ x }}"]',
    "many unknown keys": b"\n".join(b"k%d = 1" % n for n in range(3_000)),
    "many settings, each by the other": b"[settings]\n"
    + b"\n".join(
        b's%d = "{{ settings.s%d }}{{ settings.s%d }}"' % (n, n + 1, n + 1) for n in range(40)
    )
    + b'\ns40 = "laughs"\n',
    "a long chain": b"[settings]\n"
    + b"\n".join(b's%d = "{{ settings.s%d }}"' % (n, n + 1) for n in range(400)),
}


@pytest.mark.parametrize("content", ODD_FILES.values(), ids=ODD_FILES)
def test_an_odd_profile_is_refused_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    code = call(tmp_path, "--config", "odd", **{"profiles/odd.toml": content})

    shown = capsys.readouterr()
    assert code == 3, shown.err
    assert "profiles/odd.toml" in shown.err
    assert len(shown.err) < 1_000_000


@pytest.mark.parametrize("depth", [90, 110, 400])
def test_tables_may_be_nested_but_not_endlessly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], depth: int
) -> None:
    nested = b"settings.word = " + b"{ a = " * depth + b"1" + b" }" * depth

    code = call(tmp_path, **{"deployer.toml": nested})

    assert code == 3
    assert ("nested too deeply" in capsys.readouterr().err) == (depth > 100)


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfstep_timeout = 7\n", b"\r\nstep_timeout = 7\r\n[settings]\r\n"]
)
def test_a_byte_order_mark_and_windows_lines_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    code = call(tmp_path, "--config", "odd", **{"profiles/odd.toml": content})

    assert code == 0
    assert "step_timeout = 7.0 # " in capsys.readouterr().out
