"""Files that can't be read into the model: what is wrong, in which line, and what was meant."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.commands.conftest import APP, SERVICE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands.conftest import Workspace

FILE = "environments/demo.toml"
BROKEN = {
    "empty": (b"", "demo.toml: app: is missing"),
    "no TOML": (b'app = "guestbook"\n= 5\n', "demo.toml:2: not valid TOML"),
    "YAML": (
        b"# one\napp: guestbook\nsettings:\n  port: 8080\n",
        "demo.toml:2: not valid TOML: Expected '=' after a key in a key/value pair"
        " (TOML is written key = value)",
    ),
    "unended": (b'app = "guest', "demo.toml:1: not valid TOML"),
    "no UTF-8": (b'app = "guestbook"\n# \xff\n', "demo.toml:2: is not UTF-8: byte 0xff"),
    "UTF-16": ('app = "guestbook"\n'.encode("utf-16"), "is not UTF-8"),
    "too deep": (b"app = " + b"[" * 100_000, "nested too deeply"),
    "too large": (b"#" * 1_000_001, "larger than 1 MB"),
    "unknown key": (b'app = "guestbook"\nprovidr = "local"\n', "demo.toml:2: providr"),
    "unknown setting": (
        b'app = "guestbook"\n[settings]\nprot = 1\n',
        "demo.toml:3: settings.prot: there is no such key (did you mean 'port'?)",
    ),
    "unknown inner key": (
        b'app = "guestbook"\n[health]\ntimeuot = 1\n',
        "demo.toml:3: health.timeuot: there is no such key (did you mean 'timeout'?)",
    ),
    "number for text": (b"app = 5\n", "demo.toml:1: app: must be text"),
    "text for a table": (b'app = "guestbook"\nsettings = "x"\n', "2: settings: must be a table"),
    "text for a section": (b'app = "guestbook"\nhealth = "x"\n', "2: health: must be a table"),
    "text for a port": (
        b'app = "guestbook"\n[settings]\nport = "8080"\n',
        "demo.toml:3: settings.port: must be a port, not text",
    ),
    "port too high": (b'app = "guestbook"\n[settings]\nport = 65536\n', "1 to 65535"),
    "date for text": (b'app = "guestbook"\n[settings]\ntitle = 1979-05-27\n', "demo.toml:3"),
    "negative": (b'app = "guestbook"\n[health]\ntimeout = -1\n', "demo.toml:3: health.timeout"),
    "not a number": (b'app = "guestbook"\nstep_timeout = nan\n', "demo.toml:2: step_timeout"),
    "unknown provider": (b'app = "guestbook"\nprovider = "lcal"\n', "mean 'local'?"),
    "unknown runtime": (b'app = "guestbook"\nruntime = "x"\n', "demo.toml:2: runtime"),
    "unknown app": (b'\napp = "guestbok"\n', "demo.toml:2: app: there is no app 'guestbok'"),
    "unknown variable": (
        b'app = "guestbook"\n[settings]\ntitle = "{{ env.NO_SUCH }}"\n',
        "demo.toml:3: settings.title: unknown variable env.NO_SUCH",
    ),
    "unended template": (
        b'app = "guestbook"\n[settings]\ntitle = "{{"\n',
        "demo.toml:3: settings.title: not a valid template",
    ),
    "escape from the sandbox": (
        b'app = "guestbook"\n[settings]\ntitle = "{{ \'\'.__class__.__mro__ }}"\n',
        "demo.toml:3: settings.title",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_environment_file_is_refused_and_left_alone(
    workspace: Workspace, case: str
) -> None:
    content, message = BROKEN[case]
    path = workspace.file(FILE, content)

    for command in ("create", "validate"):
        assert message in workspace.refused(3, command, "demo").story
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]
    assert workspace.names() == []


def test_everything_wrong_is_said_at_once(workspace: Workspace) -> None:
    workspace.file(FILE, 'app = "guestbook"\nprovider = "x"\nruntime = "y"\n[settings]\nz = 1\n')

    done = workspace("validate", "demo", "--output", "json")

    found = {(f["rule"], f["line"]) for f in done.error["details"]["findings"]}
    assert found == {("unknown-provider", 2), ("unknown-runtime", 3), ("unknown-key", 5)}


def test_a_missing_file_is_named(workspace: Workspace) -> None:
    assert f"{FILE}: does not exist" in workspace.refused(3, "validate", "demo").story
    assert (
        "no.toml: does not exist"
        in workspace.refused(3, "create", "demo", "--from", "no.toml").story
    )
    assert workspace.files() == {}


def _folder(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _nowhere(path: Path) -> None:
    path.symlink_to("gone.toml")


@pytest.mark.parametrize("make", [_folder, _loop, _nowhere, os.mkfifo])
def test_what_is_no_file_is_refused_and_left_alone(workspace: Workspace, make) -> None:  # type: ignore[no-untyped-def]
    path = workspace.root / FILE
    path.parent.mkdir()
    make(path)
    before = workspace.files()

    for command in ("create", "validate"):
        assert f"{FILE}: " in workspace.refused(3, command, "demo", timeout=20).story
    assert workspace.files() == before
    assert workspace.names() == []


def test_a_file_to_start_from_is_named_where_it_is_wrong(workspace: Workspace) -> None:
    workspace.file("mine.toml", 'app = "guestbook"\n[settings]\nprot = 1\n')

    assert (
        "mine.toml:3: settings.prot"
        in workspace.refused(3, "create", "demo", "--from", "mine.toml").story
    )
    assert list(workspace.files()) == ["mine.toml"]


def test_a_link_stays_a_link_and_a_file_keeps_mode_and_line_ends(workspace: Workspace) -> None:
    real = workspace.file("real.toml", b'app = "guestbook"\r\n# mine\r\n')
    real.chmod(0o600)
    link = workspace.root / FILE
    link.parent.mkdir()
    link.symlink_to("../real.toml")

    assert workspace("create", "demo").code == 0

    assert str(link.readlink()) == "../real.toml"
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert real.read_bytes().startswith(b'app = "guestbook"\r\n# mine\r\n')
    assert b"port = " in real.read_bytes()


@pytest.mark.parametrize(
    "option", [("--set", "title=B"), ("--provider", "x"), ("--app", "x"), ("--set", "port=1")]
)
def test_a_contradicting_option_leaves_the_file_alone(
    workspace: Workspace, option: tuple[str, str]
) -> None:
    text = 'app = "guestbook"\nprovider = "local"\n[settings]\ntitle = "A"\nport = 18300\n'
    path = workspace.file(FILE, text)
    inode = path.stat().st_ino

    done = workspace.refused(4, "create", "demo", *option)

    assert f"{FILE} exists already and says otherwise" in done.story
    assert (path.read_text(), path.stat().st_ino) == (text, inode)
    assert workspace.names() == []


def test_an_agreeing_option_is_no_contradiction(workspace: Workspace) -> None:
    text = 'app = "guestbook"\n[settings]\ntitle = "A"\nport = 18301\n'
    path = workspace.file(FILE, text)
    inode = path.stat().st_ino

    done = workspace("create", "demo", "--app", "guestbook", "--set", "title=A")

    assert done.code == 0, done.story
    assert (path.read_text(), path.stat().st_ino) == (text, inode)


def test_creating_twice_names_deploy_and_destroy(workspace: Workspace) -> None:
    workspace("create", "demo")
    before = workspace.files()

    done = workspace.refused(4, "create", "demo")

    assert "deployer deploy demo" in done.story
    assert "deployer destroy demo" in done.story
    assert workspace.files() == before


def test_set_takes_every_form_of_a_value(workspace: Workspace) -> None:
    given = ("settings.title=a=b \"c\" 'd' # ü", "port=18302", "health.timeout=7", "step_timeout=9")

    done = workspace("create", "demo", *(w for value in given for w in ("--set", value)))

    assert done.code == 0, done.story
    found = workspace("validate", "demo", "--output", "json").data["configuration"]
    assert found["settings"] == {"port": 18302, "title": "a=b \"c\" 'd' # ü"}
    assert (found["health"]["timeout"], found["step_timeout"]) == (7, 9)


@pytest.mark.parametrize(
    ("code", "given"),
    [
        (2, ["port"]),
        (2, ["=5"]),
        (2, ["a..b=5"]),
        (2, ["port=1", "port.x=2"]),
        (3, ["port="]),
        (3, ["port=abc"]),
        (3, ["port=0"]),
        (3, ["port=1.5"]),
        (3, ["prot=8080"]),
        (3, ["settings=5"]),
        (3, ["health.timeout=nan"]),
        (3, ["app.x=5"]),
        (3, ["title={{ nope }}"]),
        (3, ["provider_options.x=1"]),
    ],
    ids=str,
)
def test_a_bad_set_is_refused(workspace: Workspace, code: int, given: list[str]) -> None:
    done = workspace.refused(
        code, "create", "demo", *(w for value in given for w in ("--set", value))
    )

    assert "--set" in done.story
    assert workspace.files() == {}
    assert workspace.names() == []


MANIFESTS = {
    "unknown key": (APP.replace("requires", "requirs"), "app.toml:2: requirs"),
    "wrong type": (APP.replace('"answer"', "5"), "app.toml:1: name: must be text"),
    "no package": (
        APP.replace("[settings.port]", 'packages = ["caddy", "-o x"]\n[settings.port]'),
        "app.toml:4: packages[1]: '-o x' is not the name of a Debian package",
    ),
    "no service": ('name = "answer"\n', "app.toml: services: is missing"),
    "unknown variable": (
        APP.replace("{{ settings.word }}", "{{ settings.wrod }}"),
        "unknown variable settings.wrod (did you mean 'word'?)",
    ),
    "unknown variable in a command": (
        APP.replace('"web.py"', '"{{ nope }}"'),
        "app/app.toml:14: services[0].command: unknown variable nope",
    ),
    "no template": (
        APP + '[[files]]\ntemplate = "gone.j2"\npath = "x"\n',
        "gone.j2 can't be read",
    ),
    "path to outside": (APP + '[[files]]\ntemplate = "../x"\npath = "x"\n', "stays inside"),
    "capability": (APP.replace("python3", "docker", 1), "requires 'docker'"),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_broken_app_is_refused(workspace: Workspace, case: str) -> None:
    manifest, message = MANIFESTS[case]
    workspace.app(manifest)
    before = workspace.files()

    done = workspace.refused(7 if case == "capability" else 3, "create", "demo", "--app", "./app")

    assert message in done.story
    assert workspace.files() == before
    assert workspace.names() == []


def test_an_unknown_variable_in_a_rendered_file_has_its_own_line(workspace: Workspace) -> None:
    workspace.app(APP + '[[files]]\ntemplate = "conf.j2"\npath = "conf"\n')
    workspace.file("app/conf.j2", "one\ntwo {{ settings.wrod }}\n")

    done = workspace.refused(3, "create", "demo", "--app", "./app")

    assert "app/conf.j2:2: unknown variable settings.wrod (did you mean 'word'?)" in done.story


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret"])
def test_a_link_to_outside_is_refused(workspace: Workspace, target: str) -> None:
    workspace.app(APP, SERVICE)
    (workspace.root / "app" / "out").symlink_to(target)

    done = workspace.refused(3, "create", "demo", "--app", "./app")

    assert f"app/out: out is a link to outside: {target}" in done.story
    assert ".deployerignore" in done.story
