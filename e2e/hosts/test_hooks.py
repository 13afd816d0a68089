"""The application's hooks on hosts of their own: as its user there, streamed, and ended there."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from e2e.hosts.own import machines, table, unique, write
from e2e.support import DEPLOYER, Site, until

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.hosts.fleet import SshHost

pytestmark = pytest.mark.docker

APP = """name = "quiet"
[[services]]
name = "idle"
command = ["sleep", "100000"]
[hooks]
after_release = "who"
before_stop = "hang"
"""
WHO = """#!/bin/sh
setsid sleep 7001 & sleep 7001 &
echo "$(id -un) on $DEPLOYER_HOST in $PWD, $(tr -d ' ' | grep -o '"host":"[^"]*"')"
touch $DEPLOYER_SHARED/mine
[ $DEPLOYER_HOST != b ] || exit 4
"""
HANG = "#!/bin/sh\necho hanging\nsetsid sleep 7002 & sleep 7002\n"


def sleeping(host: SshHost, seconds: int) -> bool:
    """Whether a hook's `sleep` runs there."""
    return host.exec("pgrep", "-f", f"sleep {seconds}", check=False).returncode == 0


def events(logs: Path) -> list[dict[str, Any]]:
    """What the logs of all operations have."""
    return [
        json.loads(line) for log in logs.glob("*.jsonl") for line in log.read_text().splitlines()
    ]


def test_hooks_run_on_every_host_as_its_user_and_nothing_of_them_stays(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (tmp_path / "app").mkdir()
    for name, text in (("app.toml", APP), ("who", WHO), ("hang", HANG)):
        (tmp_path / "app" / name).write_text(text)
        (tmp_path / "app" / name).chmod(0o755)
    with machines(2, sudo="nopasswd", user="admin") as (a, b):
        tables = [table(a, name="a"), table(b, name="b")]
        shop = write(site, unique(), tables, app="./app")
        shop.file.write_text(shop.file.read_text().partition("[settings]")[0])
        shop("create")
        root = f"/srv/deployer/{shop.name}"

        done = shop("deploy")

        user = f"deployer-{shop.uuid[:8]}"
        said = {
            event["host"]: event["title"]
            for event in events(shop.folder / "logs")
            if event.get("outcome") == "output"
        }
        assert said == {
            name: f'{user} on {name} in {root}/releases/1, "host":"{name}"' for name in "ab"
        }
        (warning,) = done.data["verbs"][2]["warnings"]
        assert "./who exited 4" in warning and "b: " in warning
        assert a.exec("stat", "-c", "%U", f"{root}/shared/mine").stdout.strip() == user
        assert not sleeping(a, 7001) and not sleeping(b, 7001)

        command = [str(DEPLOYER), "-C", str(site.root), "--progress", "none", "stop", shop.name]
        for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
            stopping = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            until("it hangs", lambda: sleeping(a, 7002) and sleeping(b, 7002))
            stopping.send_signal(number)

            assert stopping.wait(30) == code
            if number == signal.SIGKILL:  # then it is for whoever takes over
                shop("stop", "--skip-hooks")
            assert not sleeping(a, 7002) and not sleeping(b, 7002)
