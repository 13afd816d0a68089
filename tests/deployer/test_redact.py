"""Secrets are taken out of everything that is told, whatever tells it."""

from __future__ import annotations

import base64
import json
import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlencode

import pytest

from commands import main, output
from deployer import events, redact
from deployer.errors import DeployerError, Finding

if TYPE_CHECKING:
    from pathlib import Path

CORE = "c0reOfASecret"
VALUE = f'it\'s {CORE} "ö" 100% {{{{ 7*7 }}}}\n\tsecond {CORE[::-1]} line'


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests have resolved in this process is forgotten here."""
    monkeypatch.setattr(redact, "_known", set())
    monkeypatch.setattr(redact, "_values", None)
    redact.remember(VALUE)


@pytest.mark.parametrize(
    "encoded",
    [
        *(VALUE, VALUE.splitlines()[0], VALUE.splitlines()[1].strip(), repr(VALUE)),
        *(json.dumps(VALUE), json.dumps(VALUE, ensure_ascii=False), shlex.quote(VALUE)),
        *(quote(VALUE), quote(VALUE, safe=""), quote_plus(VALUE), urlencode({"a": VALUE})),
        *(VALUE.encode().hex(), base64.b64encode(VALUE.encode()).decode()),
        *(base64.b64encode(f"{'x' * n}{VALUE}{'y' * n}".encode()).decode() for n in range(4)),
        base64.urlsafe_b64encode(f"?>{VALUE}".encode()).decode(),
    ],
)
def test_a_value_is_found_in_whatever_form_it_is_written(encoded: str) -> None:
    said = redact.text(f"before {encoded} after")

    assert said.startswith("before ")
    assert said.endswith(" after")
    assert redact.MARK in said
    assert CORE not in said
    # of an encoded one nothing is left but a character or two at its edges, shared with neighbours
    assert len(said) < len("before *** after") + 12


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY----- ok", "*** ok"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl and then cut", "***"),
        (
            "connect to postgres://shop:hunter2@db:5432/x",
            "connect to postgres://shop:***@db:5432/x",
        ),
        ("redis://:hunter2@db", "redis://:***@db"),
        ("Authorization: Basic aHVudGVyMjo=", "Authorization: Basic ***"),
        ("sent bearer abcdefghijklmnop.qrs", "sent bearer ***"),
        ("key AKIAABCDEFGHIJKLMNOP!", "key ***!"),
        ("DB_PASSWORD=hunter2 PORT=80", "DB_PASSWORD=*** PORT=80"),
        ('{"api_key": "hunter2", "a": 1}', '{"api_key": ***, "a": 1}'),
        ("aws_secret_access_key = hunter2", "aws_secret_access_key = ***"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(said: str, kept: str) -> None:
    assert redact.text(said) == kept


@pytest.mark.parametrize(
    "said",
    [
        "settings.admin_token: is missing; the app wants a secret",
        'admin_token = { env = "SHOP_TOKEN" }',
        "deployer deploy shop --set admin_token.env=NAME",
        "http://127.0.0.1:8080/ answers, see http://[::1]:80/a@b",
        "authorization failed: password is wrong",
        "3 passed, token 1763758",
    ],
)
def test_what_only_speaks_of_secrets_stays(said: str) -> None:
    assert redact.text(said) == said


def test_what_is_too_short_to_be_told_from_words_stays() -> None:
    redact.remember("abcd")

    assert redact.text("abcdef abcd") == "abcdef abcd"


def test_every_subscriber_of_events_gets_them_without_secrets() -> None:
    heard: list[events.Event] = []
    failed = events.StepFailed(
        environment="shop",
        operation_id="1",
        correlation_id="1",
        verb="run",
        step="start",
        title=f"the service said {VALUE}",
        seconds=0.1,
        error={"details": {"output": [VALUE, {VALUE: 1}]}},
    )

    events.Bus(heard.append).publish(failed)

    told = heard[0].model_dump_json()
    assert redact.MARK in told
    assert CORE not in told


def test_no_form_of_an_error_tells_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    error = DeployerError(
        f"it said {VALUE}",
        hint=f"try {VALUE!r}",
        output=VALUE.splitlines(),
        findings=[Finding("value", "is wrong", value=VALUE)],
        details={"more": {"deep": [VALUE]}},
    )
    error.resume = f"deployer deploy shop --set greeting={shlex.quote(VALUE)}"

    output.failure(error, as_json=False)
    output.failure(error, as_json=True)

    said = capsys.readouterr()
    assert said.err.count(redact.MARK) >= 4
    assert CORE not in said.out + said.err + json.dumps(error.to_dict())


def test_the_report_of_a_crash_has_its_traceback_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def crash(given: Any) -> None:
        raise RuntimeError(f"what is {given!r}?")

    try:
        crash(VALUE)
    except RuntimeError as problem:
        error = DeployerError("it crashed")
        error.__cause__ = problem
        main._crash_report(error)

    [report] = tmp_path.iterdir()
    assert "in crash" in report.read_text()
    assert CORE not in report.read_text()
