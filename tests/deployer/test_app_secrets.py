"""Secrets of an app: where they may stand, what stands for them, and how they are told apart."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from deployer.apps import render
from deployer.environment import secrets
from deployer.environment.load import load
from deployer.environment.secrets import Vault, digests
from deployer.errors import Code, FileError, GateError
from deployer.paths import Workspace
from deployer.preflight import static

if TYPE_CHECKING:
    from pathlib import Path

APP = """\
name = "app"
[settings]
token = { type = "secret" }
extra = { type = "secret", optional = true }
plain = { type = "string", default = "p" }
"""
SERVICE = '[[services]]\nname = "web"\ncommand = ["true"]\n'
NAMED = 'token = { env = "TEST_TOKEN" }\n'


def workspace(folder: Path, manifest: str = APP + SERVICE, settings: str = NAMED) -> Workspace:
    for name in ("environments", "app"):
        (folder / name).mkdir()
    (folder / "app" / "app.toml").write_text(manifest)
    (folder / "environments" / "shop.toml").write_text(f'app = "./app"\n[settings]\n{settings}')
    return Workspace(folder, folder / ".deployer")


def rendered(found: Workspace) -> render.Rendered:
    loaded = load(found, "shop")
    target = render.Target("a", "127.0.0.1", "127.0.0.1", "/srv/x")
    return render.render(loaded.app, loaded.configuration, target, found.root, 1, datetime.now(UTC))


# ---- the files


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('token = "hunter2"\n', "settings.token: must refer to a secret"),
        ("token = 12345\n", "must refer to a secret"),
        ("", "settings.token: is missing; the app wants a secret"),
        ('token = { vault = "hunter2" }\n', "must refer to a secret"),
        ('token = { env = "A", file = "hunter2" }\n', "must refer to a secret"),
    ],
)
def test_a_file_that_says_a_secret_is_refused_and_not_repeated(
    tmp_path: Path, settings: str, said: str
) -> None:
    with pytest.raises(FileError) as caught:
        load(workspace(tmp_path, settings=settings), "shop")

    [finding] = caught.value.findings
    assert said in str(finding)
    assert "prompt = true" in str(finding), "it says how to refer"
    assert "environments/shop.toml" in str(finding.file)
    assert "hunter2" not in str(caught.value.to_dict())
    assert finding.value is None


def test_a_later_layer_refers_in_another_way(tmp_path: Path) -> None:
    found = workspace(tmp_path)
    (tmp_path / "deployer.toml").write_text('[settings]\ntoken = { command = ["pass", "x"] }\n')

    assert load(found, "shop").references == {"token": {"env": "TEST_TOKEN"}}
    given = load(found, "shop", ["token.file=kept", "extra.prompt=true"])
    assert given.references == {"token": {"file": "kept"}, "extra": {"prompt": True}}


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ('x = { type = "secret", default = "a" }', "no default"),
        ('x = { type = "secret", choices = ["a"] }', "no choices"),
        ('x = { type = "string", optional = true }', "optional is for secrets"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(
    tmp_path: Path, declared: str, said: str
) -> None:
    with pytest.raises(FileError, match=said):
        load(workspace(tmp_path, f"{APP}{declared}\n{SERVICE}"), "shop")


@pytest.mark.parametrize(
    "manifest",
    [
        SERVICE.replace('"true"', '"true", "{{ settings.token }}"'),
        SERVICE + 'url = "http://a/{{ settings.token }}"\n',
        SERVICE + 'health = { http = "http://a/{{ settings.token }}" }\n',
        SERVICE + 'health = { command = ["a", "{{ settings.token }}"] }\n',
        SERVICE + 'health = { http = "http://a/", headers = { X = "{{ settings.token }}" } }\n',
        SERVICE + '[[build]]\nname = "b"\ncommand = ["a", "{{ settings.token }}"]\n',
        SERVICE
        + '[[build]]\nname = "b"\ncommand = ["a"]\nenvironment = { T = "{{ settings.token }}" }\n',
        SERVICE + '[[files]]\ntemplate = "t"\npath = "x"\n',
        SERVICE + 'environment = { T = "{{ settings.token | upper }}" }\n',
        SERVICE + 'environment = { T = "{% if settings.token %}a{% endif %}" }\n',
        SERVICE + 'environment = { T = "{{ settings.token | length }}{{ settings.token }}" }\n',
    ],
)
def test_a_secret_where_it_would_be_told_is_found_offline(tmp_path: Path, manifest: str) -> None:
    found = workspace(tmp_path, APP + manifest)
    (tmp_path / "app" / "t").write_text("token: {{ settings.token }}")

    with pytest.raises(FileError) as caught:
        static.check(found, load(found, "shop"))

    assert {finding.rule for finding in caught.value.findings} == {"secret-exposed"}
    assert "secret token" in str(caught.value.findings[0])
    assert caught.value.findings[0].line


def test_a_release_has_the_text_around_a_secret_and_never_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_TOKEN", "hunter2-{{ 7*7 }}")
    variables = {
        "PLAIN": "{{ settings.plain }}",
        "URL": "db://u:{{ settings.token }}@{{ host.address }}/{{ settings.token }}",
        "EXTRA": "{{ settings.extra }}",
    }
    lines = "".join(f'environment.{name} = "{value}"\n' for name, value in variables.items())
    found = workspace(tmp_path, APP + SERVICE + lines)

    release = rendered(found)
    loaded = load(found, "shop")
    values = loaded.secrets.values(loaded.references)

    [service] = release.services
    token = {"setting": "token"}
    assert service["environment"] == {"PLAIN": "p"}
    assert service["secrets"]["URL"] == ["db://u:", token, "@127.0.0.1/", token]
    assert "hunter2" not in repr((release, release.identity(), loaded))
    assert render.with_secrets(release.services, values) == {
        "web": {"URL": "db://u:hunter2-{{ 7*7 }}@127.0.0.1/hunter2-{{ 7*7 }}"}
    }, "what was left out is no variable, and nothing is rendered in a secret"


def test_an_app_without_secrets_is_the_release_that_it_was(tmp_path: Path) -> None:
    found = workspace(tmp_path, 'name = "app"\n' + SERVICE, settings="")

    [service] = rendered(found).services

    assert set(service) == {"name", "command", "environment", "health", "url"}


# ---- the values


def test_a_secret_is_asked_for_once_an_operation(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("")
    where = {"command": ["sh", "-c", "echo x >> count; echo value$(wc -l < count)"]}
    vault = Vault(tmp_path)

    first = vault.values({"a": where})
    again = vault.values({"a": where, "b": where})

    assert first["a"] == again["a"] == again["b"]
    assert (tmp_path / "count").read_text() == "x\n"


def test_all_that_are_missing_are_named_at_once(tmp_path: Path) -> None:
    wanted: dict[str, dict[str, Any]] = {
        "a": {"env": "TEST_ABSENT"},
        "b": {"file": "absent"},
        "c": {"command": ["false"]},
        "d": {"prompt": True},
        "e": {"command": ["printf", "fine\\nof two lines"]},
    }

    with pytest.raises(GateError) as caught:
        Vault(tmp_path).values(wanted)

    assert caught.value.code is Code.SECRET_MISSING
    assert caught.value.exit_code == 7
    told = [finding.message for finding in caught.value.findings]
    assert [text.split(" can't be had")[0] for text in told] == [f"settings.{n}" for n in "abcd"]
    assert "no terminal" in told[3]
    assert all(finding.fix for finding in caught.value.findings)


def test_a_person_is_asked_where_one_is_there(tmp_path: Path) -> None:
    asked = []

    def ask(what: str) -> str:
        asked.append(what)
        return "one\ntwo\n"

    vault = Vault(tmp_path, ask)

    assert vault.values({"a": {"prompt": True}}) == {"a": "one\ntwo"}
    assert vault.values({"a": {"prompt": True}, "b": {"prompt": True}})["b"] == "one\ntwo"
    assert asked == ["settings.a", "settings.b"]


def test_a_file_that_everybody_can_read_is_a_warning(tmp_path: Path) -> None:
    for name, mode in (("open", 0o644), ("closed", 0o600)):
        (tmp_path / name).write_text("a secret")
        (tmp_path / name).chmod(mode)
    warnings: list[str] = []
    vault = Vault(tmp_path, warn=warnings.append)

    vault.values({"a": {"file": "open"}, "b": {"file": "closed"}})

    assert len(warnings) == 1
    assert f"chmod o-r {tmp_path / 'open'}" in warnings[0]


@pytest.mark.parametrize("text", ["a\0b", "x" * (secrets.LONGEST + 1)])
def test_what_no_variable_can_hold_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "kept").write_text(text)

    with pytest.raises(GateError, match=r"settings\.a can't be had from the file kept: it "):
        Vault(tmp_path).values({"a": {"file": "kept"}})


def test_digests_tell_secrets_apart_by_a_key_that_nobody_else_reads(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"

    unmade = digests(path, {"a": "x"}, make=False)
    assert not path.exists(), "who only looks writes nothing"
    first = digests(path, {"a": "x", "b": "x", "c": "y"}, make=True)
    again = digests(path, {"a": "x"}, make=False)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first["a"] == first["b"] == again["a"] != first["c"]
    assert unmade != again
    path.write_text("no key")
    assert digests(path, {"a": "x"}, make=True) != again
    assert digests(path, {"a": "x"}, make=True) == digests(path, {"a": "x"}, make=False)
