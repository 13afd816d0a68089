"""Build commands and shared folders: what an app.toml may say, and what a host makes of it."""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployer import apps
from deployer.apps import bundle, render
from deployer.environment.models import Configuration
from deployer.errors import FileError
from deployer.lifecycle import hosts, remote
from deployer.paths import Workspace

if TYPE_CHECKING:
    from deployer.apps.manifest import App

HEAD = 'name = "app"\n'
SERVICES = '[[services]]\nname = "web"\ncommand = ["true"]\n'


def read(folder: Path, before: str = "", after: str = "") -> App:
    """The app whose app.toml says something before or after its services."""
    (folder / "app").mkdir(exist_ok=True)
    (folder / "app" / "app.toml").write_text(HEAD + before + SERVICES + after)
    return apps.find(Workspace(folder, folder / ".deployer"), "./app")


def rendered(app: App, folder: Path) -> render.Rendered:
    configuration = Configuration("demo", "./app", "local", "supervisor")
    target = render.Target("a", "127.0.0.1", "127.0.0.1", str(folder / "root"))
    return render.render(app, configuration, target, folder, 1, datetime.now(UTC))


# ---- the manifest

BUILD = '[[build]]\nname = "one"\ncommand = ["true"]\n'
WRONG = {
    'shared = ["/srv"]': "'/srv' must be a relative path that stays inside the folder",
    'shared = ["a/../../b"]': "must be a relative path that stays inside the folder",
    'shared = ["."]': "must be a relative path that stays inside the folder",
    'shared = [".secrets"]': "'.secrets' is reserved",
    'shared = [".deployer/x"]': "'.deployer/x' is reserved",
    'shared = ["var/cache", "var"]': "'var/cache' is in 'var'; name the outer one only",
    'shared = ["var", "./var"]': "'var' is in 'var'",
    'shared = ["var"]\nfiles = [{ template = "t", path = "var/x" }]': "file 'var/x' is in the way",
    'build = [{ name = "A", command = ["x"] }]': "'A' is not a name",
    'build = [{ name = "a", command = [] }]': "build[0].command",
    r'build = [{ name = "a", command = ["x", "\u0000"] }]': "build[0].command[1]: has a NUL in it",
    r'version = "\U00000000"': "version: has a NUL in it",
    'build = [{ name = "a", command = ["x"], timeout = 0 }]': "build[0].timeout",
    'build = [{ name = "a", command = ["x"], timeout = 14401 }]': "build[0].timeout",
    'build = [{ name = "a", command = ["x"], environment = { "a b" = "c" } }]': "'a b' is not",
    'build = [{ name = "a", command = ["x"] }, { name = "a", command = ["y"] }]': "there twice",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_can_not_be_built_or_shared_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(FileError) as refused:
        read(tmp_path, before=line + "\n")

    assert WRONG[line] in str(refused.value.findings[0])


def test_an_unknown_variable_in_a_build_is_found_with_its_line(tmp_path: Path) -> None:
    app = read(tmp_path, after='[[build]]\nname = "a"\ncommand = ["{{ settings.no }}"]\n')

    with pytest.raises(FileError) as refused:
        rendered(app, tmp_path)

    assert "app.toml:7: build[0].command" in str(refused.value.findings[0])


def test_a_build_and_a_shared_folder_make_another_release_and_nothing_else_does(
    tmp_path: Path,
) -> None:
    plain = rendered(read(tmp_path), tmp_path)
    built = rendered(read(tmp_path, after=BUILD), tmp_path)
    environment = 'environment = { WHO = "{{ environment.name }}" }\n'
    other = rendered(read(tmp_path, after=BUILD + environment), tmp_path)
    shared = rendered(read(tmp_path, before='shared = ["var/cache"]\n'), tmp_path)

    assert plain.identity() == [plain.services, {}]  # as before there were builds
    identities = [found.identity() for found in (plain, built, other, shared)]
    assert [identities.index(found) for found in identities] == [0, 1, 2, 3]
    assert other.builds[0]["environment"] == {"WHO": "demo"}
    assert shared.digests() == {"var/cache": ["link", "../../../shared/var/cache"]}


@pytest.mark.parametrize("path", ["var/cache/x", "var/cache", "var"])
def test_a_file_where_a_shared_folder_goes_is_refused(tmp_path: Path, path: str) -> None:
    app = read(tmp_path, before='shared = ["var/cache"]\n')
    (app.folder / path).parent.mkdir(parents=True, exist_ok=True)
    (app.folder / path).write_text("x")

    with pytest.raises(FileError) as refused:
        bundle.scan(app.folder, "app", app.manifest.shared)

    assert refused.value.findings[0].file == f"app/{path}"
    (app.folder / ".deployerignore").write_text(path)
    assert bundle.scan(app.folder, "app", app.manifest.shared)


# ---- on a host


class Host:
    """The root folder of an environment, and a release unpacked in it."""

    def __init__(self, folder: Path, script: str) -> None:
        hosts.host_code()
        self.code = {
            name: importlib.import_module(f"deployer_host.{name}")
            for name in ("build", "place", "procs", "releases")
        }
        app = read(folder, 'shared = ["var/cache"]\n', BUILD.replace("true", "./build.py"))
        (app.folder / "build.py").write_text(f"#!/usr/bin/env python3\n{script}\n")
        (app.folder / "build.py").chmod(0o755)
        found = rendered(app, folder)
        scanned = bundle.scan(app.folder, "app", app.manifest.shared)
        bundle.write(scanned, folder / "bundle.tar")
        self.root = folder / "root"
        self.release = {
            "number": 1,
            "identity": "x",
            "services": found.services,
            "build": found.builds,
            "shared": found.shared,
            "files": {**scanned.files(), **found.digests()},
        }
        self.spec = {
            "root": str(self.root),
            "uuid": f"build-of-{folder}",
            "environment": "demo",
            "host": "localhost",
            "user": None,
            "variables": {"PATH": os.environ["PATH"]},
            "number": 1,
            "token": 1,
            "release": self.release,
            "bundle": str(folder / "bundle.tar"),
            "rendered": [],
            "keep": [],
        }
        self.code["place"].prepare(self.spec)
        self.code["releases"].install(self.spec)
        self.said: list[dict[str, Any]] = []

    @property
    def folder(self) -> Path:
        return self.root / "releases" / "1"

    @property
    def output(self) -> list[str]:
        return [said["title"] for said in self.said if said["outcome"] == "output"]

    def build(self) -> bool:
        """Build it."""
        changed: bool = self.code["build"].run(self.spec, self.said.append, lambda: None)
        return changed

    def fail(self) -> Any:
        """The problem that the build ends with."""
        from deployer_host.problem import HostProblem

        with pytest.raises(HostProblem) as raised:
            self.build()
        return raised.value


def test_a_release_is_whole_only_when_its_last_command_has_succeeded(tmp_path: Path) -> None:
    host = Host(tmp_path, "open('var/cache/made', 'w').close(); open('made', 'w').close()")
    problem = host.code["releases"].problem
    assert problem(host.spec, 1) == "release 1 has no manifest"
    assert not os.path.lexists(host.root / "current")

    assert host.build()

    assert problem(host.spec, 1) is None
    assert host.code["releases"].manifest(host.spec, 1) == host.release
    assert (host.root / "shared" / "var" / "cache" / "made").exists()
    assert not host.build(), "it is built once"
    (host.folder / "var" / "cache").unlink()
    assert problem(host.spec, 1) == "var/cache is missing"


def test_what_was_built_is_on_disk_before_the_release_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path, "open('made', 'w').close()")
    whole: list[bool] = []
    monkeypatch.setattr(
        os, "sync", lambda: whole.append(host.code["releases"].manifest(host.spec, 1) is not None)
    )

    assert host.build()

    assert whole == [False]


def test_what_a_shell_greets_with_is_not_taken_for_what_a_build_says(tmp_path: Path) -> None:
    host = Host(tmp_path, "print('built')")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho 1700000000; echo null; exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    places = {name: str(tmp_path / name) for name in ("fence", "sockets")}
    request = {"action": "build", "spec": {**host.spec, **places}}
    said: list[Any] = []

    answers = remote.call(
        {"a": remote.Call(None, str(python), request, held=True)},
        uuid=host.spec["uuid"],
        told=lambda _, value: said.append(value),
    )

    assert answers["a"]["changed"]
    assert [one["title"] for one in said] == ["one", "built", "one is built"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import os; os.unlink('app.toml')", "changed what was released: app.toml is missing"),
        ("import os; os.chmod('app.toml', 0o600)", "app.toml has mode 600, not 644"),
        ("import os; os.unlink('var/cache')", "var/cache is missing"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
        ("import os; os.kill(os.getpid(), 40)", "was ended by signal 40"),
        ("raise SystemExit(7)", "build one exited 7"),
    ],
)
def test_a_build_may_add_but_not_change_what_was_released(
    tmp_path: Path, script: str, message: str
) -> None:
    host = Host(tmp_path, script)

    problem = host.fail()

    assert (problem.code, message in problem.message) == ("COMMAND_FAILED", True), problem.message
    assert not host.folder.exists()


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    host = Host(tmp_path, "")
    host.release["build"][0]["command"] = ["no-such-program"]
    (host.folder / ".deployer" / "unbuilt.json").write_text(json.dumps(host.release))

    problem = host.fail()

    assert "build one can't be started: no-such-program: No such file" in problem.message


def test_output_is_told_as_a_terminal_shows_it_and_has_an_end(tmp_path: Path) -> None:
    host = Host(
        tmp_path,
        "import sys\n"
        "print('10 %\\r\\x1b[32mdone\\x1b[0m')\n"
        "print('a\\x07b' + 'x' * 70_000)\n"
        "[print('line', n) for n in range(12_000)]\n"
        "sys.stdout.write('no end of line')\n"
        "sys.exit(1)",
    )

    problem = host.fail()

    assert host.output[0] == "done"
    assert host.output[1].startswith("a bx") and len(host.output[1]) == 1000
    assert len(host.output) == 10_001 and "not shown" in host.output[-1]
    assert problem.output[-2:] == ["line 11999", "no end of line"]
    assert len(problem.output) == 20


def test_what_was_cut_short_is_removed_by_the_next_release(tmp_path: Path) -> None:
    host = Host(tmp_path, "")
    (host.root / "releases" / ".new-7").mkdir()
    later = {**host.spec, "release": {**host.release, "number": 2}}

    host.code["releases"].install(later)

    assert [folder.name for folder in (host.root / "releases").iterdir()] == ["2"]


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_that_a_build_has_closed_can_be_removed_without_root(mode: int) -> None:
    hosts.host_code()
    place = importlib.import_module("deployer_host.place")
    anybody = 65534
    with tempfile.TemporaryDirectory() as made:
        inner = Path(made) / "release" / "modules" / "inner"
        inner.mkdir(parents=True)
        (inner / "file").write_text("")
        (inner / "out").symlink_to(made)
        for folder in (inner, inner.parent):
            folder.chmod(mode)
        if root := os.geteuid() == 0:
            for folder, names, files in os.walk(made):
                for name in (".", *names, *files):
                    os.chown(Path(folder) / name, anybody, anybody, follow_symlinks=False)
            os.seteuid(anybody)
        try:
            place.discard(inner.parent.parent)
        finally:
            if root:
                os.seteuid(0)

        assert list(Path(made).iterdir()) == []


def test_a_file_in_the_way_of_a_shared_folder_is_named(tmp_path: Path) -> None:
    from deployer_host.problem import HostProblem

    host = Host(tmp_path, "")
    cache = host.root / "shared" / "var" / "cache"
    cache.rmdir()
    cache.write_text("mine")

    with pytest.raises(HostProblem) as refused:
        host.code["releases"].install(host.spec)

    assert refused.value.message == f"{cache} is no folder"
    assert cache.read_text() == "mine"


def test_what_a_command_started_ends_with_it(tmp_path: Path) -> None:
    host = Host(
        tmp_path,
        "import os, subprocess\n"
        # of its group, but without our variable; and the other way round
        "bare = subprocess.Popen(['/bin/sleep', '900'], env={})\n"
        "away = subprocess.Popen(['/bin/sleep', '900'], start_new_session=True)\n"
        "print(bare.pid, away.pid)",
    )

    assert host.build()

    (pids,) = host.output
    assert [host.code["procs"].start_time(int(pid)) for pid in pids.split()] == [None, None]
