"""Ansible missing, broken, lying, hanging, chatty; and a service that never answers; by turns.

A fake `ansible-playbook` stands first in the folder of the interpreter that runs deployer: a
virtual environment that borrows everything else from the real one.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from harness import DEPLOYER, Lab, expect, lab, prove, until

if TYPE_CHECKING:
    import random

REAL = Path(sys.executable).with_name("ansible-playbook")
MEMORY = 250 * 1024 * 1024  # bytes that deployer may take
CHATTER = 8  # megabytes

GARBAGE = """
import sys
sys.stdout.buffer.write(bytes(range(256)) * 40 + b"\\nno such thing: frobnicate\\n")
sys.exit({code})
"""
HANGING = """
import signal, subprocess, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
subprocess.Popen(["sleep", "100000"], start_new_session=True)
while True:
    time.sleep(1000)
"""
CHATTY = """
import os, sys
for _ in range({megabytes}):
    sys.stdout.write(("x" * 1023 + "\\n") * 1024)
sys.stdout.flush()
os.execv({real!r}, [{real!r}, *sys.argv[1:]])
"""


def _borrowed(found: Lab, fake: str | None) -> tuple[str, ...]:
    """The command of a deployer that finds `fake` where it looks for Ansible first."""
    venv = found.root / "venv"
    (venv / "bin").mkdir(parents=True)
    real = Path(sys.prefix)
    (venv / "lib").symlink_to(real / "lib")
    (venv / "pyvenv.cfg").write_bytes((real / "pyvenv.cfg").read_bytes())
    (venv / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    if fake is not None:
        program = venv / "bin" / "ansible-playbook"
        program.write_text(f"#!{sys.executable}\n{fake}")
        program.chmod(0o755)
    found.variables["PATH"] = "/usr/bin:/bin"
    return (str(venv / "bin" / "python"), "-c", "from commands.main import main; main()")


def _fails(found: Lab, fake: str | None, code: str) -> None:
    found.create()
    found.deployer = _borrowed(found, fake)
    failed = found.run("deploy", found.name, codes=(20,))
    expect(failed.error["code"] == code, f"{failed}")
    expect("Traceback" not in failed.err, f"{failed}")
    found.check_settled()
    expect(found.record()["state"] == "configure_failed", f"{found.record()['state']}")
    if fake and "frobnicate" in fake:
        said = "\n".join(failed.error["details"].get("output", []))
        expect("frobnicate" in said, f"what it said is not told: {failed}")
    found.deployer = (DEPLOYER,)
    found.deploy()
    found.check_running()


def missing(_: random.Random) -> str:
    """It says that Ansible is missing."""
    with lab() as found:
        _fails(found, None, "TOOL_MISSING")
    return "Ansible missing"


def broken(_: random.Random) -> str:
    """It shows what Ansible said before it died."""
    with lab() as found:
        _fails(found, GARBAGE.format(code=3), "TOOL_FAILED")
    return "Ansible broken: garbage, exit 3"


def lying(_: random.Random) -> str:
    """Exit 0 without having done anything is no success."""
    with lab() as found:
        _fails(found, GARBAGE.format(code=0), "TOOL_FAILED")
    return "Ansible broken: garbage, exit 0"


def hanging(_: random.Random) -> str:
    """A step that outlives its time is ended, with children that ignore signals."""
    with lab(extra="step_timeout = 2") as found:
        began = time.monotonic()
        found.create()
        found.deployer = _borrowed(found, HANGING)
        failed = found.run("deploy", found.name, codes=(20,))
        expect(failed.error["code"] == "TIMEOUT", f"{failed}")
        expect(time.monotonic() - began < 60, "it took over a minute")
        found.check_settled()
        found.extra = ""
        found.write()
        found.deployer = (DEPLOYER,)
        found.deploy()
        found.check_running()
    return "Ansible hanging, and a step that outlives its timeout"


def chatty(_: random.Random) -> str:
    """Megabytes of output neither block it nor fill the memory."""
    with lab() as found:
        found.create()
        found.deployer = _borrowed(found, CHATTY.format(megabytes=CHATTER, real=str(REAL)))
        child = found.start("deploy", found.name)
        watched, peak = psutil.Process(child.process.pid), 0

        def ended() -> bool:
            nonlocal peak
            if child.process.poll() is not None:
                return True
            try:
                peak = max(peak, watched.memory_info().rss)
            except psutil.Error:
                return True
            return False

        until(ended, "it hangs", patience=240)
        done = child.wait()
        expect(done.code == 0, f"{done}")
        expect(peak < MEMORY, f"it took {peak >> 20} MB")
        found.check_running()
    return f"a playbook that prints {CHATTER} MB"


def silent_service(_: random.Random) -> str:
    """A service that never answers fails the run with its last lines, and is mended by an edit."""
    with lab() as found:
        found.create()
        web = found.root / "app" / "web.py"
        good = web.read_text()
        web.write_text("import time\nprint('thinking', flush=True)\ntime.sleep(100000)\n")
        file = found.root / "environments" / f"{found.name}.toml"
        file.write_text(file.read_text().replace("timeout = 30", "timeout = 2"))
        failed = found.run("deploy", found.name, codes=(40,))
        expect(failed.error["code"] == "UNHEALTHY", f"{failed}")
        expect("thinking" in str(failed.error["details"]), f"{failed}")
        found.check_settled()
        web.write_text(good)
        found.write()
        found.deploy()
        found.check_running()
    return "a service that never answers"


TRIES = (missing, broken, lying, hanging, chatty, silent_service)

if __name__ == "__main__":
    prove(lambda dice, index: TRIES[index % len(TRIES)](dice), count=len(TRIES))
