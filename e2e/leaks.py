"""An application with secrets of every kind, and the search for them where they must not be."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.paths import private_dir
from e2e.support import Environment, Site, free_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

VARIABLE = "TEST_SECRET_OF_AN_APP"
MANIFEST = """\
name = "keeper"
version = "1"
runtimes = ["systemd", "supervisor"]

[settings]
port = { type = "port", default = 8080 }
broken = { type = "boolean", default = false }
from_env = { type = "secret" }
from_file = { type = "secret" }
from_command = { type = "secret" }
left_out = { type = "secret", optional = true }

[[services]]
name = "web"
command = ["python3", "server.py", "{{ host.bind }}", "{{ settings.port }}"]
health = { http = "http://127.0.0.1:{{ settings.port }}/" }
url = "http://{{ host.address }}:{{ settings.port }}/"

[services.environment]
BROKEN = "{{ settings.broken }}"
FROM_ENV = "{{ settings.from_env }}"
FROM_FILE = "{{ settings.from_file }}"
URL = "redis://:{{ settings.from_command }}@{{ host.address }}/{{ settings.from_env }}"
LEFT_OUT = "{{ settings.left_out }}"
"""
SERVER = """\
import base64, hashlib, http.server, json, os, sys

names = "FROM_ENV", "FROM_FILE", "URL", "LEFT_OUT"
if os.environ["BROKEN"] == "True":
    print("I know", os.environ["FROM_ENV"], repr(os.environ["FROM_FILE"]), flush=True)
    print(base64.b64encode(b"and: " + os.environ["FROM_ENV"].encode()).decode(), flush=True)
    sys.exit("redis: " + os.environ["URL"])
seen = {n: hashlib.sha256(os.environ[n].encode()).hexdigest() for n in names if n in os.environ}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(seen).encode())


http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""


class Keeper:
    """A workspace with that application; its secrets lie beside it, and in this environment."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.cores: list[str] = []
        self.patch = patch
        self.vault = folder / "vault"
        self.temporary = folder / "tmp"
        for path in (folder / "site" / "app", self.vault, self.temporary):
            path.mkdir(parents=True)
        (folder / "site" / "app" / "app.toml").write_text(MANIFEST)
        (folder / "site" / "app" / "server.py").write_text(SERVER)
        patch.setenv("TMPDIR", str(self.temporary))
        self.change()
        key = f"-----BEGIN TEST KEY-----\n{self.core()}\n{self.core()}+/=\n-----END TEST KEY-----"
        self.key = self._kept("key.pem", key)
        self.word = self._kept("word", f"{self.core()}ünï😀%s")
        self.site = Site(folder / "site")

    def core(self) -> str:
        """A part of a secret that no quoting changes: what is searched for."""
        self.cores.append(f"{secrets.token_hex(5)}Zz{secrets.token_hex(5)}")
        return self.cores[-1]

    def change(self) -> None:
        """Let the variable hold another secret."""
        self.token = f"{self.core()} \"q' $HOME {{{{ 7*7 }}}} `id`\n#{self.core()};"
        self.patch.setenv(VARIABLE, self.token)

    def _kept(self, name: str, text: str) -> str:
        path = self.vault / name
        path.write_text(text + "\n")
        path.chmod(0o600)
        return text

    def create(self, *options: str) -> Environment:
        name = f"t{secrets.token_hex(3)}"
        settings = [
            f"from_env.env={VARIABLE}",
            f"from_file.file={self.vault / 'key.pem'}",
            # a list can't be said there: the file is written below
            f"from_command.file={self.vault / 'word'}",
            f"port={free_port()}",
        ]
        words = [word for one in settings for word in ("--set", one)]
        self.site.run("create", name, "--app", "./app", *words, *options)
        environment = Environment(self.site, name)
        environment.edit(f'file = "{self.vault / "word"}"', 'command = ["cat", "../vault/word"]')
        return environment

    def wanted(self, address: str) -> dict[str, str]:
        """What the service must say of its variables."""
        url = f"redis://:{self.word}@{address}/{self.token}"
        values = {"FROM_ENV": self.token, "FROM_FILE": self.key, "URL": url}
        return {n: hashlib.sha256(v.encode()).hexdigest() for n, v in values.items()}

    def needles(self) -> set[bytes]:
        """Every core, plain and as programs encode it."""
        found = set()
        for core in self.cores:
            plain = core.encode()
            found |= {plain, plain.hex().encode()}
            for shift in range(3):
                text = base64.b64encode(b"\0" * shift + plain)
                found.add(text[4 if shift else 0 : (len(plain) + shift) // 3 * 4])
        return found

    def found_in(self, paths: Iterable[Path]) -> list[Path]:
        """The files below some folders that a secret is in."""
        needles = self.needles()
        # unlike rglob, walk goes on where a folder is removed meanwhile
        walks = (os.walk(path) for path in paths)
        files = [
            Path(folder, name) for walk in walks for folder, _, names in walk for name in names
        ]
        return [file for file in files if any(needle in content(file) for needle in needles)]

    def left_here(self) -> list[Path]:
        """The files of this machine that a secret is in, but for where it came from."""
        places = [self.site.root, self.temporary, private_dir()]
        return self.found_in({place.resolve() for place in places})

    def said(self, text: str) -> list[bytes]:
        """What is told of a secret in a text."""
        return [needle for needle in self.needles() if needle in text.encode()]


def content(path: Path) -> bytes:
    """What is in a file; nothing if it is none, or another deployment has just removed its own."""
    with suppress(FileNotFoundError):
        if path.is_file() and not path.is_symlink():
            return path.read_bytes()
    return b""


@contextmanager
def keeper(patch: pytest.MonkeyPatch) -> Iterator[Keeper]:
    """The workspace, and nothing left of it afterwards. The path is short, as for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="deployer-test-"))
    found = Keeper(folder, patch)
    try:
        yield found
    finally:
        found.site.tear_down()
        shutil.rmtree(folder)


class Watch:
    """Looks at the command line and the variables of every process, again and again."""

    def __init__(self, keeper: Keeper) -> None:
        self.found: set[str] = set()
        self.looks = 0
        self._needles = keeper.needles()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ended.is_set():
            self.looks += 1
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    self._look(process)
            time.sleep(0.05)

    def _look(self, process: Path) -> None:
        words = (process / "cmdline").read_bytes()
        variables = (process / "environ").read_bytes()
        if any(needle in words for needle in self._needles):
            self.found.add(f"command line: {words!r}")
        # what was given the variable: the tests, deployer itself, and what fetches a secret
        given = VARIABLE.encode() in variables or b"DEPLOYER_SERVICE=web" in variables
        if not given and any(needle in variables for needle in self._needles):
            self.found.add(f"variables of: {words!r}")


def in_container(name: str, needles: set[bytes], *folders: str) -> list[str]:
    """The files of a container that a secret is in."""
    words = ["lxc", "exec", name, "--", "grep", "-rlaF", "-f", "-", "--devices=skip", *folders]
    done = subprocess.run(words, input=b"\n".join(needles), capture_output=True, timeout=60)
    return sorted(done.stdout.decode().splitlines())


def run_in(name: str, *words: str) -> str:
    """What a command in a container prints."""
    done = subprocess.run(
        ["lxc", "exec", name, "--", *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def seen(page: str) -> dict[str, str]:
    """What the service says of its variables."""
    found: dict[str, str] = json.loads(page)
    return found
