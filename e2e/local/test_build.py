"""Releases that are built on their host, and folders that all releases share."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from e2e.support import DEPLOYER, Site, fetch, kill, replace, until, variables, workers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.support import Environment

MANIFEST = """
name = "pages"
version = "1"
shared = ["uploads", "var/cache"]

[settings.port]
type = "port"

[[services]]
name = "web"
command = [".venv/bin/python", "web.py", "{{ settings.port }}"]
health = { http = "http://127.0.0.1:{{ settings.port }}/made.txt" }

[[build]]
name = "venv"
command = ["python3", "-m", "venv", "--without-pip", ".venv"]

[[build]]
name = "pages"
command = [".venv/bin/python", "build.py"]
environment = { ENVIRONMENT = "{{ environment.name }}" }
timeout = 60
"""
WEB = """
import http.server, pathlib, sys
pathlib.Path("uploads/prefix").write_text(sys.prefix)
http.server.HTTPServer(
    ("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler
).serve_forever()
"""
BUILD = """
import os, pathlib, subprocess, sys, time
print("building", os.environ["ENVIRONMENT"], os.environ["DEPLOYER_RELEASE"], flush=True)
pathlib.Path("made.txt").write_text(sys.prefix)
"""
# one that left its session, writes on, and doesn't care for SIGTERM
STRAY = """
code = "import signal, time; signal.signal(15, 1); print('stray'); time.sleep(900)"
subprocess.Popen([sys.executable, "-u", "-c", code], start_new_session=True)
"""


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    site = Site(tmp_path_factory.mktemp("built"))
    app = site.root / "app"
    app.mkdir()
    (app / "app.toml").write_text(MANIFEST)
    (app / "web.py").write_text(WEB)
    (app / "build.py").write_text(BUILD)
    try:
        found = site.environment(app=app)
        found("deploy")
        yield found
    finally:
        site.tear_down()


@pytest.fixture
def pages(deployed: Environment) -> Iterator[Environment]:
    """The application, whose source is put back afterwards."""
    app = deployed.site.root / "app"
    before = {path: path.read_text() for path in app.iterdir()}
    yield deployed
    for path, text in before.items():
        path.write_text(text)


def builders(environment: Environment) -> list[psutil.Process]:
    """Every process that builds, or was left by a build."""
    uuid = environment.uuid
    return [
        p
        for p in psutil.process_iter()
        if variables(p).get("DEPLOYER_COMMAND", "").startswith(uuid)
    ]


def build_with(environment: Environment, more: str) -> None:
    (environment.site.root / "app" / "build.py").write_text(BUILD + more)


def start_release(environment: Environment) -> subprocess.Popen[bytes]:
    """A release that is being built."""
    command = [str(DEPLOYER), "-C", str(environment.site.root), "release", environment.name]
    running = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(
        "its last command runs",
        lambda: any(is_unbuilt(p) for p in environment.host.glob("releases/*/made.txt")),
    )
    return running


def is_unbuilt(made: Path) -> bool:
    return not (made.parent / ".deployer" / "release.json").exists()


def there(environment: Environment) -> list[str]:
    """The releases that are on the host."""
    return sorted(folder.name for folder in (environment.host / "releases").iterdir())


def is_untouched(environment: Environment, number: int, before: list[str]) -> bool:
    """Whether the host has the releases that it had, and serves the one that it served."""
    current = (environment.host / "current").readlink().name
    served = fetch(environment.url + "made.txt")
    return (
        there(environment) == before
        and current == str(number)
        and served.endswith(f"/releases/{number}/.venv")
    )


def test_a_service_runs_from_what_was_built_and_the_output_is_progress(pages: Environment) -> None:
    build_with(pages, "print('\\x1b[31m50 %\\r100 %\\x1b[0m')\n" + STRAY)

    deployed = pages("deploy", "--progress", "json")

    number = pages.record.inputs["release"]["number"]
    venv = str(pages.host / "releases" / str(number) / ".venv")
    assert fetch(pages.url + "made.txt") == fetch(pages.url + "uploads/prefix") == venv
    events = [json.loads(line) for line in deployed.stderr.splitlines()]
    output = [e["title"] for e in events if e.get("outcome") == "output"]
    assert output[:2] == [f"building {pages.name} {number}", "100 %"]
    assert "pages is built" in [e["title"] for e in events if e.get("step") == "build"]
    assert pages("release").data["release"] == number  # the same again is no new release


def test_a_build_that_hangs_leaves_the_old_release_and_nothing_of_the_new(
    pages: Environment,
) -> None:
    before, folders = pages.record.inputs["release"]["number"], there(pages)
    build_with(pages, STRAY + "time.sleep(900)")
    replace(pages.site.root / "app" / "app.toml", "timeout = 60", "timeout = 1")

    failed = pages("release", code=30)

    assert (failed.error["code"], failed.error["step"]) == ("TIMEOUT", "build")
    assert failed.error["message"] == "build pages took over 1 s and was ended"
    assert failed.error["details"]["output"][0].startswith("building demo")
    assert is_untouched(pages, before, folders)
    assert builders(pages) == []
    newest = pages("releases").data["releases"][0]
    assert (newest["number"] > before, newest["status"]) == (True, "failed")


def test_a_killed_build_is_ended_and_finished_by_the_same_command(pages: Environment) -> None:
    wait = "while not os.path.exists('uploads/go'): time.sleep(0.05)\n"
    build_with(pages, "pathlib.Path('half').touch()\n" + STRAY + wait)
    running = start_release(pages)
    number = pages.record.intents["release"]["number"]

    kill(psutil.Process(running.pid))

    running.wait()
    until(
        "it is ended and removed", lambda: not builders(pages) and str(number) not in there(pages)
    )

    # and now without anybody who could clean up
    running = start_release(pages)
    kill(psutil.Process(running.pid), *workers(pages.uuid))
    running.wait()
    left = builders(pages)
    assert left
    go = pages.host / "shared" / "uploads" / "go"
    go.touch()
    assert pages("release").data["release"] == number
    assert not any(p.is_running() for p in left)
    go.unlink()


def test_what_is_shared_outlives_releases_until_its_removal_is_asked_for(
    pages: Environment,
) -> None:
    build_with(pages, "pathlib.Path('var/cache/kept').write_text('kept')\n")
    number = pages("release").data["release"]
    kept = pages.host / "shared" / "var" / "cache" / "kept"
    assert kept.read_text() == "kept"

    link = pages.host / "releases" / str(number) / "uploads"
    link.unlink()
    link.symlink_to(sys.prefix)
    broken = pages("run", code=40)

    assert broken.error["code"] == "RELEASE_BROKEN"
    assert "uploads is not the link it was" in broken.error["message"]
    pages("reset", "--data")
    assert list((pages.host / "shared").iterdir()) == []


def test_files_in_the_way_of_a_shared_folder_are_found_before_anything_is_touched(
    pages: Environment,
) -> None:
    uploads = pages.site.root / "app" / "uploads"
    uploads.mkdir()
    pages("validate")
    (uploads / "first.txt").write_text("x")

    found = pages("validate", code=3).error["details"]["findings"]

    assert [(f["rule"], f["file"]) for f in found] == [("shared", "app/uploads/first.txt")]
    assert ".deployerignore" in found[0]["fix"]
    (uploads / "first.txt").unlink()
    uploads.rmdir()
