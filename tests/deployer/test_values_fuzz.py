"""Files that nobody would write: no traceback, no hang, and always an answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.environment.load import load
from deployer.errors import FileError, GateError
from deployer.paths import Workspace
from deployer.preflight import static, values
from deployer.preflight.values.files import Files
from deployer.preflight.values.readers import KINDS
from tests.deployer.fuzz import CONTENTS, PATIENCE, fuzz

if TYPE_CHECKING:
    from pathlib import Path


@fuzz(150)
@given(content=CONTENTS, ending=st.sampled_from(sorted(KINDS)))
def test_any_content_of_any_file_is_judged(tmp_path: Path, content: bytes, ending: str) -> None:
    path = tmp_path / f"compose{ending}"
    path.write_bytes(content)
    began = time.monotonic()

    found = values.examine(Files({path: path.name}), [path])

    assert time.monotonic() - began < PATIENCE
    for finding in found:
        assert finding.line is not None
        assert str(finding).isprintable()


@fuzz(150)
@given(content=CONTENTS, file=st.sampled_from(["environments/demo.toml", "app/app.toml"]))
def test_any_content_of_the_files_of_an_environment_is_read_or_refused(
    tmp_path: Path, content: bytes, file: str
) -> None:
    good = {
        "environments/demo.toml": b'app = "./app"\nprovider = "local"\n',
        "app/app.toml": b'name = "a"\n[[services]]\nname = "web"\ncommand = ["true"]\n',
    }
    for name, text in {**good, file: content}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text)
    workspace = Workspace(tmp_path, tmp_path / ".deployer")
    began = time.monotonic()

    try:
        static.check(workspace, load(workspace, "demo"))
    except (FileError, GateError) as refused:
        assert refused.findings
        assert all(finding.file for finding in refused.findings)

    assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".yml", "[" * 900_000),
        (".yml", "a: {" * 200_000),
        (".json", "[" * 450_000 + "]" * 450_000),
        (".tf", "a = [" * 180_000),
        (".tf", 'a = "${' * 120_000),
        (".toml", "a." * 400_000 + "a = 1"),
        (".j2", "{{" * 450_000),
    ],
)
def test_deep_nesting_is_given_up_at_once(tmp_path: Path, ending: str, content: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_text(content)
    began = time.monotonic()

    found = values.examine(Files({path: "a"}))

    assert time.monotonic() - began < PATIENCE
    assert all("deep" in f.message or f.rule == "syntax" for f in found)
