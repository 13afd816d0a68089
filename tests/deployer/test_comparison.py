"""What a host tells of a release that it has beside one that it is to have."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from deployer.tools.host_code import host_code

if TYPE_CHECKING:
    from pathlib import Path

UUID = "8c5f0a52-4d0e-4a39-9d4f-2f4f3a7c1e11"


def release(number: int, files: dict[str, tuple[int, bytes]], **services: str) -> dict[str, Any]:
    return {
        "number": number,
        "identity": str(number),
        "services": [{"name": name, "command": [word]} for name, word in services.items()],
        "files": {
            name: [mode, hashlib.sha256(content).hexdigest()]
            for name, (mode, content) in files.items()
        },
    }


def put(root: Path, files: dict[str, tuple[int, bytes]], **services: str) -> None:
    """Release 1, current."""
    folder = root / "releases" / "1"
    (folder / ".deployer").mkdir(parents=True)
    for name, (mode, content) in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(mode)
    kept = json.dumps(release(1, files, **services))
    (folder / ".deployer" / "release.json").write_text(kept, encoding="utf-8")
    (root / "current").symlink_to("releases/1")


def compare(root: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    spec = {"root": str(root), "uuid": UUID, "user": None, "release": wanted}
    return dict(host_code("releases").compare(spec))


def test_files_and_services_that_come_change_and_go_are_told(tmp_path: Path) -> None:
    put(
        tmp_path,
        {"same": (0o644, b"1"), "old": (0o644, b"2"), "text": (0o644, b"3\n")},
        a="x",
        b="y",
    )
    new = {"same": (0o644, b"1"), "new": (0o644, b"4"), "text": (0o644, b"5\n")}

    found = compare(tmp_path, release(2, new, a="x", b="z", c="w"))

    assert found["changed"] is True
    assert found["files"] == {"added": ["new"], "changed": ["text"], "removed": ["old"]}
    assert found["services"] == {"added": ["c"], "changed": ["b"], "removed": []}
    assert found["texts"] == {"text": "3\n"}


def test_what_only_the_services_may_read_is_named_and_never_told(tmp_path: Path) -> None:
    put(tmp_path, {"was": (0o600, b"secret"), "becomes": (0o644, b"secret")})
    new = {"was": (0o644, b"public"), "becomes": (0o600, b"other")}

    found = compare(tmp_path, release(2, new))

    assert found["files"]["changed"] == ["becomes", "was"]
    assert found["texts"] == {}


def test_large_and_binary_files_are_named_and_not_told(tmp_path: Path) -> None:
    put(tmp_path, {"large": (0o644, b"x" * 100_000), "binary": (0o644, b"\0\1")})

    found = compare(tmp_path, release(2, {"large": (0o644, b"y"), "binary": (0o644, b"z")}))

    assert found["files"]["changed"] == ["binary", "large"]
    assert found["texts"] == {}


def test_the_release_that_is_there_already_changes_nothing(tmp_path: Path) -> None:
    files = {"text": (0o644, b"1")}
    put(tmp_path, files, a="x")

    assert compare(tmp_path, release(1, files, a="x"))["changed"] is False


def test_a_host_without_a_release_is_to_have_all_of_it(tmp_path: Path) -> None:
    found = compare(tmp_path, release(1, {"text": (0o644, b"1")}, a="x"))

    assert found["changed"] is True
    assert found["files"]["added"] == ["text"]
    assert list(tmp_path.iterdir()) == []
