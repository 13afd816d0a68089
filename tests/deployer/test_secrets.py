"""Secrets are referred to, resolved where they are used, and never repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from deployer.environment import secrets
from deployer.errors import Code, StepError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "value", [{"env": "NAME"}, {"file": "a/b"}, {"command": ["pass", "show", "x"]}]
)
def test_the_three_ways_to_refer(value: dict[str, Any]) -> None:
    assert secrets.reference(value) == value


@pytest.mark.parametrize(
    "value",
    [
        *("hunter2", 7, None, ["hunter2"], {}, {"env": ""}, {"file": 3}, {"value": "hunter2"}),
        *({"command": "echo hunter2"}, {"command": []}, {"command": ["a", 2]}),
        {"env": "A", "file": "hunter2"},
    ],
)
def test_what_says_a_secret_is_refused_and_not_repeated(value: object) -> None:
    with pytest.raises(ValueError, match="must refer to a secret") as caught:
        secrets.reference(value)
    assert "hunter2" not in str(caught.value)


def test_a_secret_is_what_is_there_but_for_the_end_of_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_SECRET", " it's {{ 1 }} ")
    (tmp_path / "kept").write_text("from a file\r\n")
    assert secrets.resolve({"env": "TEST_SECRET"}, "it", tmp_path) == " it's {{ 1 }} "
    assert secrets.resolve({"file": "kept"}, "it", tmp_path) == "from a file"
    words = {"command": ["cat", "kept"]}
    assert secrets.resolve(words, "it", tmp_path) == "from a file"
    # no shell takes the words apart
    assert secrets.resolve({"command": ["echo", "$HOME;x"]}, "it", tmp_path) == "$HOME;x"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ({"env": "TEST_ABSENT"}, "the environment variable TEST_ABSENT: it is not set"),
        ({"file": "absent"}, "the file absent: No such file"),
        ({"file": "empty"}, "the file empty: it is empty"),
        ({"file": "binary"}, "the file binary: "),
        ({"command": ["no-such-program-here"]}, "the command no-such-program-here: No such file"),
        ({"command": ["sh", "-c", "echo hunter2; exit 3"]}, "the command sh: it exited 3"),
        ({"command": ["true"]}, "the command true: it is empty"),
    ],
)
def test_a_secret_that_cannot_be_had_is_said_by_its_place(
    tmp_path: Path, reference: dict[str, Any], said: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"hunter2\xff")
    with pytest.raises(StepError) as caught:
        secrets.resolve(reference, "the sudo password", tmp_path)
    error = caught.value
    assert error.code is Code.SECRET_MISSING
    assert error.message.startswith("the sudo password can't be had from ")
    assert said in error.message
    assert "hunter2" not in f"{error.message} {error.hint} {error.output}"


def test_a_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "COMMAND_TIMEOUT", 0.2)
    with pytest.raises(StepError, match="the command sleep: it took longer"):
        secrets.resolve({"command": ["sleep", "60"]}, "the sudo password", tmp_path)
