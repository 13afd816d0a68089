"""The installed command line, called as a user calls it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOYER = str(Path(sys.executable).parent / "deployer")
KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
SERVICE = """\
import http.server, json, os

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(dict(os.environ)).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""
APP = """\
name = "answer"
requires = ["python3"]

[settings.port]
type = "port"
default = 18200

[settings.word]
type = "string"
default = "plain"

[[services]]
name = "web"
command = ["python3", "web.py"]
environment = { PORT = "{{ settings.port }}", WORD = "{{ settings.word }}" }
health = { http = "http://127.0.0.1:{{ settings.port }}/" }
url = "http://{{ host.address }}:{{ settings.port }}/"
"""


@dataclass
class Done:
    """How a call ended."""

    code: int
    out: str
    err: str

    @property
    def story(self) -> str:
        """The message; nobody may ever be shown a traceback or told of a bug."""
        for text in (self.out, self.err):
            assert "Traceback" not in text, text
            assert "This is a bug" not in text, text
        return self.err

    @property
    def envelope(self) -> dict[str, Any]:
        """Standard output, which must be one envelope and nothing else."""
        found = json.loads(self.out)
        assert set(found) == {"status", "data", "metadata", "error"}
        assert (found["error"] is None) == (found["status"] == "success") == (self.code == 0)
        assert self.story is not None
        return dict(found)

    @property
    def data(self) -> dict[str, Any]:
        """The envelope's data; only a success has any."""
        assert self.code == 0, self.out + self.err
        return dict(self.data)

    @property
    def error(self) -> dict[str, Any]:
        """The envelope's error."""
        return dict(self.envelope["error"])


def free_port() -> str:
    """A port that no test beside this one gets: the program's own choice is by workspace."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


class Workspace:
    """A folder, and `deployer -C` on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.created: set[str] = set()

    def __call__(
        self,
        *arguments: str,
        variables: dict[str, str] | None = None,
        without: tuple[str, ...] = (),
        cwd: Path | None = None,
        named: bool = True,
        timeout: float = 120,
        **more: Any,
    ) -> Done:
        """Call it without a terminal. `named` gives the folder with -C, else it is the cwd."""
        kept = {k: os.environ[k] for k in KEPT if k in os.environ and k not in without}
        place = ["-C", str(self.root)] if named else []
        done = subprocess.run(
            [DEPLOYER, *place, *arguments],
            cwd=cwd or self.root,
            env={**kept, **(variables or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            **more,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def refused(self, code: int, *arguments: str, **more: Any) -> Done:
        """Call it twice, as text and as JSON: the same exit code, the same message in both."""
        text = self(*arguments, **more)
        assert text.code == code, text.story + text.out
        assert text.out == ""
        shown = self("--output", "json", *arguments, **more)
        assert shown.code == code
        assert shown.error["message"] in text.story
        if shown.error["hint"]:
            assert shown.error["hint"] in text.story
        return text

    def file(self, path: str, content: str | bytes) -> Path:
        """Write a file of the workspace."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
        return target

    def app(self, manifest: str = APP, service: str = SERVICE) -> None:
        """Put an application into ./app."""
        self.file("app/app.toml", manifest)
        self.file("app/web.py", service)

    def files(self) -> dict[str, bytes | str]:
        """What the user has here: files with their content, links with their target."""
        found: dict[str, bytes | str] = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if name.startswith(".deployer"):
                continue
            if path.is_symlink():
                found[name] = str(path.readlink())
            elif path.is_file():
                found[name] = path.read_bytes()
            else:
                found[name] = "/"
        return found

    def names(self) -> list[str]:
        """The recorded environments."""
        return [e["name"] for e in self("list", "--output", "json").data["environments"]]

    def state(self, name: str = "demo") -> str:
        """The recorded state of an environment."""
        return str(self("show", name, "--output", "json").data["state"])

    def destroy(self) -> None:
        """Leave nothing running."""
        for name in self.names():
            self("destroy", name, "--yes")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """An empty workspace."""
    found = Workspace(tmp_path)
    yield found
    if (tmp_path / ".deployer" / "state.db").is_file() and found("list").code == 0:
        found.destroy()


@pytest.fixture
def listener() -> Iterator[int]:
    """A port that this very process listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]
