"""The code that runs on hosts, driven there without Ansible: what a host is told, and what is."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import uuid as uuids
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployer.lifecycle.configure import LAUNCHER
from deployer.paths import TEMPLATES

if TYPE_CHECKING:
    from e2e.hosts.fleet import SshHost

CODE = TEMPLATES / "ansible" / "module_utils" / "deployer_host"
THERE = "/opt/deployer-test"
EMPTY = f"{THERE}/empty.tar"
ACT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from deployer_host import actions
action, spec = sys.argv[2:]
if action == "inspect":
    print(json.dumps([True, actions.inspect(actions.decode(spec))]))
else:
    print(json.dumps(actions.perform(action, spec)))
"""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

SERVE = """
import http.server, json, os, sys, tempfile

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = {"user": os.getuid(), "variables": dict(os.environ), "arguments": sys.argv[2:]}
        for place in sys.argv[2:]:
            try:
                with open(os.path.join(place, "written"), "w") as file:
                    file.write("x")
                said[place] = "written"
            except OSError as error:
                said[place] = error.strerror
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, *_):
        pass

print("web begins", flush=True)
http.server.HTTPServer(("0.0.0.0", int(sys.argv[1])), Page).serve_forever()
"""
# as nginx and postgres do, to show a title: what /proc says of its environment is gone
OVERWRITE = """
import ctypes, time
environ = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
number = 0
while environ[number]:
    ctypes.memset(environ[number], 0, len(ctypes.string_at(environ[number])))
    number += 1
time.sleep(10000)
"""
FORK = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve("/bin/sleep", ["sleep", "4711"], {})
time.sleep(10000)
"""
FILES = {
    "web.py": (SERVE, 0o644),
    "title.py": (OVERWRITE, 0o644),
    "fork.py": (FORK, 0o644),
    "private.txt": ("for the service alone", 0o600),
}


def bring(host: SshHost) -> None:
    """Put the code on a host."""
    host.exec("mkdir", "-p", THERE)
    if host.client == "lxc":
        copy = ["lxc", "file", "push", "--quiet", "--recursive", str(CODE), host.name + THERE]
    else:
        copy = ["docker", "cp", "--quiet", str(CODE), f"{host.name}:{THERE}"]
    subprocess.run(copy, check=True, timeout=60, capture_output=True)
    host.exec("tar", "-cf", EMPTY, "--files-from", "/dev/null")


@dataclass
class Driven:
    """One environment on a host; each action is a newer operation's."""

    host: SshHost
    name: str
    runtime: str = "systemd"
    uuid: str = field(default_factory=lambda: str(uuids.uuid4()))
    token: int = 0
    number: int = 0
    services: list[dict[str, Any]] = field(default_factory=list)

    @property
    def root(self) -> str:
        return f"/srv/deployer/{self.name}"

    @property
    def run(self) -> str:
        return f"/run/deployer/{self.name}-{self.uuid[:8]}"

    @property
    def user(self) -> str:
        return f"deployer-{self.uuid[:8]}"

    def spec(self, **more: Any) -> dict[str, Any]:
        self.token += 1
        return {
            "environment": self.name,
            "uuid": self.uuid,
            "host": self.host.name,
            "runtime": self.runtime,
            "user": self.user,
            "root": self.root,
            "token": self.token,
            "fence": f"{self.run}/fence",
            "sockets": self.run,
            "python": "/usr/bin/python3",
            "supervisord": ["/usr/bin/supervisord"],
            "variables": {"PATH": PATH, "LANG": "C.UTF-8", "ODD": "100% $HOME \"'\\"},
            "launcher": LAUNCHER.read_text(encoding="utf-8"),
            "health": {"timeout": 20, "interval": 0.2, "success_threshold": 2},
            "number": self.number,
            **more,
        }

    def act(self, action: str, **more: Any) -> dict[str, Any]:
        """An action that succeeds; its result."""
        ok, result = self.try_to(action, **more)
        assert ok, result
        return result

    def fail(self, action: str, **more: Any) -> dict[str, Any]:
        """An action that fails; its message and problem."""
        ok, result = self.try_to(action, **more)
        assert not ok, result
        return result

    def try_to(self, action: str, **more: Any) -> tuple[bool, dict[str, Any]]:
        spec = base64.b64encode(json.dumps(self.spec(**more)).encode()).decode()
        said = self.host.exec("python3", "-c", ACT, THERE, action, spec).stdout
        ok, result = json.loads(said)
        return ok, result

    def release(self, services: list[dict[str, Any]], files: dict[str, tuple[str, int]]) -> None:
        """Put the next release in place. Files have content and mode."""
        self.number += 1
        self.services = [{"environment": {}, **service} for service in services]
        release = {
            "number": self.number,
            "identity": f"r{self.number}",
            "services": self.services,
            "files": {
                path: [mode, hashlib.sha256(text.encode()).hexdigest()]
                for path, (text, mode) in files.items()
            },
        }
        rendered = [
            {"path": path, "mode": mode, "content": base64.b64encode(text.encode()).decode()}
            for path, (text, mode) in files.items()
        ]
        self.act("release", release=release, bundle=EMPTY, rendered=rendered, keep=[])

    def run_services(self) -> dict[str, Any]:
        """Start, and wait until all is healthy."""
        return self.act("run")

    def seen(self, **more: Any) -> dict[str, Any]:
        return self.act("inspect", **more)

    def pids(self) -> dict[str, int]:
        return {name: found["pid"] for name, found in self.seen()["services"].items()}


def web(port: int, *arguments: str, **environment: str) -> dict[str, Any]:
    return {
        "name": "web",
        "command": ["python3", "web.py", str(port), *arguments],
        "environment": environment,
        "health": {"http": f"http://127.0.0.1:{port}/"},
    }


def idle(name: str) -> dict[str, Any]:
    return {"name": name, "command": ["sleep", "10000"]}


def ask(host: SshHost, port: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        host.exec("curl", "--silent", "--fail", f"http://127.0.0.1:{port}/").stdout
    )
    return found
