"""The token on the host: a late task of a dead operation is refused, a living one is ended.

The task is run as on a remote host, where nobody can find it by the environment of its process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Lab, expect, lab, prove, until

from deployer.lifecycle import hosts
from deployer.paths import Workspace
from state.store import Store

if TYPE_CHECKING:
    import random

TASK = """
import json, sys
from deployer.lifecycle import hosts
print("begins", flush=True)
print(json.dumps(hosts.host_code().perform(sys.argv[1], sys.argv[2])), flush=True)
"""
HANGING_HEALTH = {"timeout": 600, "interval": 0.1, "success_threshold": 2}


def _spec(found: Lab, token: int, **more: Any) -> str:
    workspace = Workspace.find(found.root)
    store = Store.read(workspace.store)
    assert store
    record = store.environment(found.name)
    assert record
    host = record.hosts[0]
    spec = hosts.spec(workspace, record, host, token, **more)
    store.close()
    return str(hosts.variables(workspace, record, host, spec)["deployer_spec"])


def _task(action: str, spec: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", TASK, action, spec],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"]},
    )
    assert process.stdout
    expect(process.stdout.readline() == "begins\n", "the task does not begin")
    return process


def late(dice: random.Random) -> str:
    """What an older operation still wants is refused, and changes nothing."""
    with lab() as found:
        found.create()
        found.deploy()
        old = found.newest_token()
        found.word = "two"
        found.write()
        found.deploy()
        action = dice.choice(("stop", "remove", "clear"))
        said, _ = _task(action, _spec(found, old)).communicate(timeout=60)
        done, result = json.loads(said)
        refused = not done and result["problem"]["code"] == "OUTDATED_OPERATION"
        expect(refused, f"the late {action} was not refused: {said}")
        found.check_running()
    return "late task of an older operation"


def living(dice: random.Random) -> str:
    """What an older operation is still doing is ended before the newer one begins."""
    with lab() as found:
        found.create()
        found.deploy()
        (service,) = [p for p in found.services() if "web.py" in " ".join(p.cmdline())]
        service.suspend()  # so that the wait for its health never ends
        task = _task("run", _spec(found, found.newest_token(), number=1, health=HANGING_HEALTH))
        pid = task.pid
        until(
            lambda: any(line["pid"] == pid for line in found.journal()),
            "the task does not get as far as the host",
        )
        found.word = "two"
        found.write()
        child = found.start("deploy", found.name)
        newest = found.newest_token()
        until(
            lambda: found.journal()[-1]["token"] > newest or child.process.poll() is not None,
            "the newer operation does not get as far as the host",
        )
        ended = task.poll()
        child.wait()
        task.kill()
        task.communicate()
        expect(ended is not None, "the older task still worked beside the newer operation")
        found.deploy()
        found.check_running()
    return "living task of an older operation"


TRIES = (late, living)

if __name__ == "__main__":
    prove(lambda dice, index: TRIES[index % len(TRIES)](dice), count=10)
