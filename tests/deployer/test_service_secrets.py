"""On a host: the file of a service's secrets, and the launcher that reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from deployer.lifecycle.configure import LAUNCHER
from deployer.tools.host_code import host_code

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, secrets: dict[str, dict[str, str]]) -> set[str]:
    (root / "shared").mkdir(exist_ok=True)
    spec: dict[str, Any] = {"root": str(root), "user": None, "secrets": secrets}
    changed: set[str] = host_code("secrets").write(spec)
    return changed


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


def test_only_services_with_other_secrets_than_before_are_named(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        first = write(tmp_path, {"web": {"A": "1"}, "worker": {"B": "2"}})
        same = write(tmp_path, {"web": {"A": "1"}, "worker": {"B": "2"}})
        second = write(tmp_path, {"web": {"A": "1"}, "worker": {"B": "3"}})
        third = write(tmp_path, {"web": {"A": "1"}})
    finally:
        os.umask(umask)

    assert (first, same) == ({"web", "worker"}, set())
    assert (second, third) == ({"worker"}, {"worker"})
    assert modes(tmp_path / "shared") == {".secrets": 0o700}
    assert modes(tmp_path / "shared" / ".secrets") == {"web.env": 0o600}


def test_a_host_without_secrets_has_no_folder_for_them(tmp_path: Path) -> None:
    assert write(tmp_path, {}) == set()
    assert not (tmp_path / "shared" / ".secrets").exists()


def launched(root: Path) -> subprocess.CompletedProcess[str]:
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    service = {
        "name": "web",
        "command": [sys.executable, "-c", show],
        "environment": {"PLAIN": "p"},
        "secrets": {"A": ["x"], "B": [{"setting": "left_out"}]},
    }
    own = root / "releases" / "1" / ".deployer"
    own.mkdir(parents=True, exist_ok=True)
    (own / "release.json").write_text(json.dumps({"services": [service]}))
    return subprocess.run(
        [sys.executable, "-I", str(LAUNCHER), "web", "1"],
        cwd=root,
        env={"HOME": "/"},
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_a_service_starts_with_what_its_release_names(tmp_path: Path) -> None:
    value = 'a "b" $HOME {{ 1 }}\nsecond ünï'
    write(tmp_path, {"web": {"A": value, "OF_ANOTHER_RELEASE": "no"}})

    seen = json.loads(launched(tmp_path).stdout)

    assert seen["A"] == value
    assert seen["PLAIN"] == "p"
    assert not {"B", "OF_ANOTHER_RELEASE"} & set(seen)


def test_a_service_whose_secrets_are_gone_says_so(tmp_path: Path) -> None:
    done = launched(tmp_path)

    assert done.returncode == 1
    assert done.stderr == "the secrets of web are gone from this host: run `deployer run`\n"
