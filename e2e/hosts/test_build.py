"""Releases that are built on hosts reached by SSH, as the services' user."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from e2e.hosts.own import create, machines, table
from e2e.support import DEPLOYER, Site, until

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.hosts.fleet import SshHost

MANIFEST = """
name = "pages"
shared = ["uploads"]

[settings.port]
type = "port"

[[services]]
name = "idle"
command = ["sleep", "10000"]

[[files]]
template = "app.toml"
path = "conf/private"
mode = "0600"

[[build]]
name = "pages"
command = ["sh", "build.sh", "{{ host.name }}"]
"""
BUILD = """
set -e
echo "building as $(id -un)"
mkdir -p pages/new
umask 077
id -un >pages/new/made.txt
cat conf/private >pages/private
touch uploads/touched
"""
WAIT = "setsid sleep 4711 &\nsleep 4712\n"


def sleepers(*hosts: SshHost) -> list[str]:
    return [
        line
        for host in hosts
        for line in host.exec("ps", "-eo", "args").stdout.splitlines()
        if line.startswith("sleep 47")
    ]


@pytest.mark.docker
def test_a_release_is_built_as_the_services_user_and_roots_again_afterwards(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path)
    app = site.root / "app"
    app.mkdir()
    (app / "app.toml").write_text(MANIFEST)
    (app / "build.sh").write_text(BUILD + '[ "$1" != b ] || exit 3\n')
    with machines(2) as (a, b):
        shop = create(site, [table(a, name="a"), table(b, name="b")], app="./app")
        root = f"/srv/deployer/{shop.name}"

        failed = shop("deploy", code=30)

        assert (failed.error["code"], failed.error["step"]) == ("COMMAND_FAILED", "build")
        assert failed.error["details"]["hosts"] == ["b"]
        user = f"deployer-{shop.uuid[:8]}"
        assert f"b: building as {user}" in failed.error["details"]["output"]
        assert f"| a: building as {user}" in failed.stderr
        assert [host.exec("ls", f"{root}/releases").stdout for host in (a, b)] == ["", ""]

        (app / "build.sh").write_text(BUILD + WAIT)
        running = subprocess.Popen(
            [str(DEPLOYER), "-C", str(site.root), "release", shop.name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until("it builds on both", lambda: len(sleepers(a, b)) == 4)
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=20) == 130
        assert sleepers(a, b) == []

        (app / "build.sh").write_text(BUILD)
        number = shop("release").data["release"]

        for host in (a, b):
            found = host.exec("find", f"{root}/current/", "-printf", "%P %u:%g %m\n").stdout
            listed = dict(line.split(" ", 1) for line in found.splitlines())
            assert listed["pages/new"] == listed[""] == f"root:{user} 755"
            assert listed["pages/new/made.txt"] == f"root:{user} 640"
            assert listed["conf/private"] == f"{user}:{user} 600"
            assert listed["build.sh"] == "root:root 644"
            assert listed[".deployer/release.json"] == "root:root 644"
            assert listed["uploads"] == "root:root 777"
            touched = host.exec("stat", "-c", "%U", f"{root}/shared/uploads/touched").stdout
            assert touched.strip() == user
            link = host.exec("readlink", f"{root}/current").stdout.strip()
            assert link == f"releases/{number}"
