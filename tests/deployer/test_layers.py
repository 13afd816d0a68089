"""Layers: which value wins, what may not differ, and what placeholders become."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployer import Deployer
from deployer.environment.load import Loaded, load
from deployer.errors import FileError, UsageError
from deployer.events import Bus, Event, StepProgress
from deployer.lifecycle.create import Wish
from deployer.lifecycle.session import Call, open_session
from deployer.paths import Workspace

if TYPE_CHECKING:
    from pathlib import Path

APP = """\
name = "a"
[settings.port]
type = "port"
default = 8080
[settings.title]
type = "string"
default = "none"
[settings.other]
type = "string"
default = ""
[[services]]
name = "web"
command = ["true"]
"""


class Files:
    """A workspace of files, and a user's own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("app/app.toml", APP)
        self.write("environments/demo.toml", 'app = "./app"\n')

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def load(self, *overrides: str, profile: str | None = None) -> Loaded:
        return load(
            Workspace(self.root, self.root / ".deployer"), "demo", overrides, profile=profile
        )

    def settings(self, text: str, *overrides: str) -> dict[str, object]:
        self.write("environments/demo.toml", f'app = "./app"\n[settings]\n{text}\n')
        return self.load(*overrides).configuration.settings

    def refused(self, text: str) -> str:
        with pytest.raises(FileError) as refused:
            self.settings(text)
        return "\n".join(map(str, refused.value.findings))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)
    return Files(tmp_path)


def test_each_layer_wins_over_the_ones_before_it(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(*overrides: str, profile: str | None = None) -> object:
        return files.load(*overrides, profile=profile).configuration.keep_releases

    found = [seen()]
    files.write("user/deployer/config.toml", "keep_releases = 11\n")
    found.append(seen())
    files.write("deployer.toml", "keep_releases = 12\n")
    found.append(seen())
    files.write("environments/demo.toml", 'app = "./app"\nkeep_releases = 13\n')
    found.append(seen())
    files.write("profiles/big.toml", "keep_releases = 14\n")
    found.append(seen(profile="big"))
    monkeypatch.setenv("DEPLOYER_SET_KEEP_RELEASES", "15")
    found.append(seen(profile="big"))
    found.append(seen("keep_releases=16", profile="big"))

    assert found == [5, 11, 12, 13, 14, 15, 16]


def test_tables_are_merged_and_a_reference_to_a_secret_is_replaced_whole(files: Files) -> None:
    files.write("providers/p/provider.toml", PROVIDER)
    files.write("deployer.toml", "health = { timeout = 9, interval = 2 }\n")
    files.write("environments/demo.toml", DEMO_OF_P)
    files.write(
        "profiles/big.toml",
        'health.interval = 3\nprovider_options.token = { file = "token.txt" }\n',
    )

    found = files.load(profile="big").configuration

    assert (found.health.timeout, found.health.interval) == (9, 3)
    assert found.provider_options["token"] == {"file": "token.txt"}


PROVIDER = """\
name = "p"
version = "1"
kind = "static"
[options.token]
type = "secret"
"""
DEMO_OF_P = """\
app = "./app"
provider = "p"
provider_options.token = { env = "TOKEN" }
"""


def test_a_variable_takes_the_type_of_its_key_and_a_bare_one_is_a_setting(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPLOYER_SET_PORT", "81")
    monkeypatch.setenv("DEPLOYER_SET_settings__title", "81")

    found = files.load().configuration.settings

    assert found == {"port": 81, "title": "81", "other": ""}


@pytest.mark.parametrize(
    ("variables", "error", "message"),
    [
        ({"PROT": "1"}, FileError, "DEPLOYER_SET_PROT: settings.prot: there is no such key"),
        ({"PORT": "x"}, FileError, "DEPLOYER_SET_PORT: settings.port: must be a port"),
        ({"": "1"}, UsageError, "DEPLOYER_SET_ names no key"),
        ({"HEALTH____X": "1"}, UsageError, "DEPLOYER_SET_HEALTH____X names no key"),
        ({"PORT": "1", "SETTINGS__PORT": "2"}, UsageError, "both set settings.port"),
    ],
)
def test_a_variable_that_can_not_be_is_refused_by_its_name(
    files: Files,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    error: type[Exception],
    message: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"DEPLOYER_SET_{name}", value)

    with pytest.raises(error) as refused:
        files.load()

    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("below", "over", "kinds"),
    [
        ("settings.title = 5", '"x"', "is text here and a number in deployer.toml:1"),
        ("settings.title = { a = 1 }", '"x"', "is text here and a table in deployer.toml:1"),
        ("settings.title = { a = 1 }", '"{{ x }}"', "is text here and a table in deployer.toml:1"),
        ('settings.title = "x"', "[1]", "is a list here and text in deployer.toml:1"),
        ('settings.title = "x"', "true", "is true or false here and text in deployer.toml:1"),
    ],
)
def test_two_layers_of_different_types_are_refused_with_both_places(
    files: Files, below: str, over: str, kinds: str
) -> None:
    files.write("deployer.toml", below + "\n")

    message = files.refused(f"\ntitle = {over}")

    assert f"environments/demo.toml:4: settings.title: {kinds}" in message


def test_a_hook_may_be_text_in_one_layer_and_a_list_in_another(files: Files) -> None:
    files.write("deployer.toml", 'hooks.before_run = "true"\n')
    files.write("environments/demo.toml", 'app = "./app"\nhooks.before_run = ["true", "x"]\n')

    assert files.load().configuration.hooks == {"before_run": ["true", "x"]}


def test_a_profile_is_a_name_or_a_path_and_is_recorded(files: Files) -> None:
    files.write("profiles/big.toml", "settings.port = 81\n")
    files.write("other.toml", "settings.port = 82\n")

    found = [files.load(profile=text).configuration for text in ("big", "other.toml")]
    by_its_path = files.load(profile=str(files.root / "other.toml"))

    assert [(c.settings["port"], c.profile) for c in found] == [
        (81, "profiles/big.toml"),
        (82, "other.toml"),
    ]
    assert files.load().configuration.profile is None
    assert by_its_path.configuration.profile == "other.toml"


def test_a_profile_that_does_not_exist_is_refused_with_the_nearest_one(files: Files) -> None:
    files.write("profiles/production.toml", "")

    for name, message in (
        ("prodution", "did you mean 'production'?"),
        ("no.toml", "no.toml: does not exist"),
        ("profiles", "there is no profile 'profiles'"),
    ):
        with pytest.raises(FileError) as refused:
            files.load(profile=name)
        assert message in str(refused.value)


def test_another_profile_than_last_time_is_told_of_once(files: Files) -> None:
    files.write("profiles/big.toml", "")
    told: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, StepProgress) and event.step == "profile":
            told.append(event.title)

    deployer = Deployer(Workspace(files.root, files.root / ".deployer"))
    deployer.create("demo", Wish(), Call(profile="big"))
    for profile in ("big", None):
        call = Call(profile=profile)
        with open_session(deployer.workspace, "demo", "deploy", call, Bus(listen)) as session:
            session.loaded()
            session.loaded()

    assert told == ["no profile this time; last time it was profiles/big.toml"]


# ---- placeholders


def test_settings_may_name_settings_and_the_app_s_defaults(files: Files) -> None:
    found = files.settings(
        'title = "{{ settings.other }}!"\nother = "at {{ settings.port }}"', "port=81"
    )
    assert found["title"] == "at 81!"

    assert files.settings('title = "{{ settings.port }}"')["title"] == "8080"


def test_what_a_variable_holds_is_never_rendered(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = "{{ settings.port }}\n{% x"
    monkeypatch.setenv("ODD", odd)

    found = files.settings('title = "{{ settings.other }}"\nother = "{{ env.ODD }}"')

    assert found["title"] == found["other"] == odd


def test_a_placeholder_takes_the_type_of_its_key_in_every_layer(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT_OF_TEST", "81")
    monkeypatch.setenv("DEPLOYER_SET_TITLE", "{{ environment.name }}")
    files.write("deployer.toml", 'keep_releases = "{{ settings.port }}"\n')

    found = files.settings('port = "{{ env.PORT_OF_TEST }}"', "other={{ env.NO | default('x') }}")

    assert found == {"port": 81, "title": "demo", "other": "x"}
    assert files.load().configuration.keep_releases == 81


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'title = "{{ settings.other }}"\nother = "{{ settings.title }}"',
            "goes round in a circle: settings.title → settings.other → settings.title",
        ),
        ('title = "{{ settings.title }}"', "circle: settings.title → settings.title"),
        ('"{{ env.HOME }}" = 1', "a key can't have a placeholder in it"),
        ('title = "{{ env.EMPTY_IN_TEST }}"', "env.EMPTY_IN_TEST: it is empty"),
        ('title = "{{ env.UNSET_IN_TEST }}"', "env.UNSET_IN_TEST: it is not set"),
        ('title = "{{ settings.prot }}"', "unknown variable settings.prot (did you mean 'port'?)"),
        ('title = "{{ 9 ** 9 ** 9 }}"', "Pow has no place in a value"),
        ('title = "{% for a in range(9) %}{% endfor %}"', "For has no place in a value"),
        ('title = "{{ env.HOME | center(999) }}"', "there is no filter 'center' in a value"),
        ('title = "{{ settings.other }}"\nother = { a = 1 }', "settings.other is a table"),
    ],
)
def test_a_placeholder_that_can_not_be_is_refused(
    files: Files, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setenv("EMPTY_IN_TEST", "")

    found = files.refused(text)

    assert message in found
    assert "environments/demo.toml:" in found


def test_a_setting_is_complained_of_once_however_many_name_it(files: Files) -> None:
    found = files.refused('title = "{{ settings.other }}"\nother = "{{ env.UNSET_IN_TEST }}"')

    assert found.count("\n") == 0
    assert "environments/demo.toml:4: settings.other" in found
