"""`config` and `schema`: what all layers say, where from, and what editors are told."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from commands.main import run
from commands.options import call
from deployer import schemas
from deployer.environment.hooks import ON_CONTROLLER
from deployer.paths import TEMPLATES
from docs import generate

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = """\
app = "guestbook"

[settings]
title = "{{ environment.name }} at {{ settings.port }}"
port = 8081

[provider_options]
hosts = ["root@10.0.0.1"]
key = "id"
sudo_password = { env = "SUDO_PASSWORD" }
"""


class Called:
    """`deployer` called in this process on a workspace."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.capsys = capsys
        self.write("environments/demo.toml", 'provider = "ssh"\n' + ENVIRONMENT)
        self.write("deployer.toml", "settings.port = 8080\n")
        self.write("profiles/big.toml", "step_timeout = 7\n")

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def __call__(self, *arguments: str, code: int = 0) -> str:
        found = run(["-C", str(self.root), *arguments])
        shown = self.capsys.readouterr()
        assert found == code, shown.err
        return shown.err if code else shown.out

    def data(self, *arguments: str) -> dict[str, Any]:
        return dict(json.loads(self(*arguments, "--output", "json"))["data"])


@pytest.fixture
def deployer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Called:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)
    return Called(tmp_path, capsys)


def test_what_config_shows_is_an_environment_file_that_says_the_same(deployer: Called) -> None:
    shown = deployer("config", "show", "demo", "--config", "big", "--origin")

    deployer.write("environments/other.toml", shown)
    (deployer.root / "deployer.toml").unlink()
    first = deployer.data("config", "show", "demo", "--config", "big", "--set", "port=8081")
    again = deployer.data("config", "show", "other")
    assert again["configuration"] == first["configuration"]
    assert again["configuration"]["provider_options"]["sudo_password"] == {"env": "SUDO_PASSWORD"}


def test_every_value_has_its_origin(deployer: Called, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOYER_PROFILE", "big")
    monkeypatch.setenv("DEPLOYER_SET_KEEP_RELEASES", "3")

    shown = deployer("config", "show", "demo", "--origin", "--set", "firewall=true")
    found = deployer.data("config", "show", "demo", "--origin", "--set", "firewall=true")

    for line in (
        '# profile: "profiles/big.toml"',
        "port = 8081 # environments/demo.toml:6 (environment file)",
        "step_timeout = 7.0 # profiles/big.toml:1 (profile)",
        "keep_releases = 3 # DEPLOYER_SET_KEEP_RELEASES (variable)",
        "firewall = true # --set",
        "keep_operations = 1000 # default",
    ):
        assert line in shown.splitlines()
    assert found["origins"]["settings.port"] == {
        "layer": "environment file",
        "place": "environments/demo.toml",
        "line": 6,
    }
    assert all(
        " # " in line for line in shown.splitlines() if " = " in line and line[0] not in "#["
    )


def test_explain_says_what_was_overridden_and_what_it_means(deployer: Called) -> None:
    port = deployer.data("config", "explain", "demo", "port")
    title = deployer("config", "explain", "demo", "settings.title")

    assert (port["key"], port["value"], port["line"]) == ("settings.port", 8081, 6)
    assert [(one["layer"], one["line"], one["value"]) for one in port["overrides"]] == [
        ("workspace", 1, 8080),
        ("default", 9, 8080),
    ]
    assert (port["type"], port["default"]) == ("port", 8080)
    assert port["description"]
    assert title.startswith('settings.title = "demo at 8081"\n')
    assert 'written    "{{ environment.name }} at {{ settings.port }}"' in title


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("helth.timeout", "did you mean 'health.timeout'?"),
        ("health", "health is a table"),
        ("settings..x", "'settings..x' is not a key"),
    ],
)
def test_explain_refuses_what_is_no_key(deployer: Called, key: str, message: str) -> None:
    assert message in deployer("config", "explain", "demo", key, code=2)


def test_a_key_without_a_value_is_explained_too(deployer: Called) -> None:
    deployer.write("environments/demo.toml", 'app = "guestbook"\n')

    assert deployer.data("config", "explain", "demo", "runtime")["layer"] == "default"


def test_the_command_that_continues_names_the_profile(deployer: Called) -> None:
    import click

    from commands.options import Globals

    with click.Context(click.Command("deploy"), obj=Globals()):
        found = call("deploy", "demo", profile="big", overrides=("port=1",))

    assert found.resume == "deployer deploy demo --config big --set port=1"


# ---- schemas

SHIPPED = {
    **dict.fromkeys(TEMPLATES.glob("apps/*/app.toml"), "app"),
    **dict.fromkeys(TEMPLATES.glob("providers/*/provider.toml"), "provider"),
    **dict.fromkeys(TEMPLATES.glob("environments/*.toml"), "environment"),
}


def problems(kind: str, text: str) -> list[str]:
    validator = Draft202012Validator(schemas.schema(kind))
    if not is_toml(text):
        return ["it is no TOML"]
    return [error.message for error in validator.iter_errors(tomllib.loads(text))]


@pytest.mark.parametrize("kind", schemas.KINDS)
def test_a_schema_is_one_and_describes_every_key(deployer: Called, kind: str) -> None:
    found = json.loads(deployer("schema", kind))

    Draft202012Validator.check_schema(found)
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for part in (found, *found.get("$defs", {}).values()):
        assert part["additionalProperties"] is False
        for key, about in part["properties"].items():
            assert about.get("description"), key


@pytest.mark.parametrize(
    ("path", "kind"), SHIPPED.items(), ids=lambda v: v if isinstance(v, str) else v.parent.name
)
def test_every_shipped_file_fits_its_schema(path: Path, kind: str) -> None:
    assert not problems(kind, path.read_text(encoding="utf-8"))


def test_every_example_in_the_documentation_fits_a_schema() -> None:
    tried = 0
    for page in generate.pages():
        for text in re.findall(r"^```toml\n(.*?)^```", page.read_text("utf-8"), re.S | re.M):
            if not is_toml(text):  # one way after the other to say the same key
                continue
            fits = [kind for kind, whole in wholes(text) if not problems(kind, whole)]
            assert fits, f"{page.name}:\n{text}"
            tried += 1
    assert tried > 10


def is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def wholes(text: str) -> list[tuple[str, str]]:
    """What files an example could be of, each with what it leaves out."""
    service = '[[services]]\nname = "a"\ncommand = ["a"]\n'
    found = [("provider", text), ("user", text), ("app", text), ("app", f'name = "a"\n{text}')]
    found += [("app", f"{top}{text}\n{service}") for top in ("", 'name = "a"\n')]
    return [*found, ("app", f'name = "a"\n{service}{text}')]


@pytest.mark.parametrize(
    ("kind", "text", "wrong"),
    [
        ("environment", 'app = "a"\nhealth.timeout = "{{ env.T }}"', 0),
        ("environment", 'app = "a"\nhealth.timeout = "soon"', 1),
        ("environment", "keep_releases = 1", 1),
        ("user", "keep_releases = 1", 0),
        ("user", "keep_release = 1", 1),
        ("user", 'hooks.before_deploy = "x"', 1),
        ("user", f'hooks.{ON_CONTROLLER[0]} = ["x", "y"]', 0),
        ("app", 'name = "A b"\nservices = [{ name = "a", command = ["a"] }]', 1),
    ],
)
def test_a_schema_finds_what_the_program_would_refuse(kind: str, text: str, wrong: int) -> None:
    assert len(problems(kind, text)) == wrong
