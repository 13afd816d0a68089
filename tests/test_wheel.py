"""The wheel, installed where nothing of the repository is, does what the repository does."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.support import Site, fetch, services

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
SHADOW = 'raise ImportError("this is the user\'s own package")\n'


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `deployer` of a new venv, with the dependencies that the wheel names and no others."""
    venv = tmp_path_factory.mktemp("wheel") / "venv"
    for command in (
        [sys.executable, "-m", "venv", venv],
        [venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", wheel],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return venv / "bin" / "deployer"


@pytest.fixture
def site(installed: Path, tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path, program=installed)
    yield found
    found.tear_down()


def test_the_wheel_holds_the_packages_and_templates_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    assert "deployer/templates/apps/guestbook/app.toml" in names
    assert "deployer/templates/ansible/library/deployer.py" in names
    # git knows what belongs to it; caches and leftovers do not
    known = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    rooms = ("commands/", "deployer/", "state/", "templates/")
    wanted = {
        name.replace("templates/", "deployer/templates/", 1)
        if name.startswith("templates/")
        else name
        for name in known
        if name.startswith(rooms) and (ROOT / name).exists()
    }
    assert {name for name in names if ".dist-info/" not in name} == wanted


def test_the_wheel_deploys_and_destroys_the_demo_beside_packages_of_the_same_names(
    site: Site,
) -> None:
    for name in ("state", "commands", "deployer", "ansible", "supervisor"):
        (site.root / name).mkdir()
        (site.root / name / "__init__.py").write_text(SHADOW, encoding="utf-8")
    demo = site.environment()

    deployed = demo("deploy")

    assert deployed.verbs == ["provision", "configure", "release", "run"]
    assert "Guestbook" in fetch(deployed.data["urls"][0])
    assert str(site.program.parent) in demo.service("supervisord").cmdline()[0]
    assert demo("deploy").verbs == []
    uuid = deployed.data["uuid"]
    demo("destroy", "--yes")
    assert services(uuid) == []
