"""Child processes: the environment they get, and the end of those that outlived their operation."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.paths import home

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psutil

ENVIRONMENT_VARIABLE = "DEPLOYER_ENVIRONMENT_UUID"
OPERATION_VARIABLE = "DEPLOYER_OPERATION_ID"
_PASSED_ON = (
    "SSH_AUTH_SOCK",
    *(
        name
        for word in ("http", "https", "no", "all")
        for name in (f"{word}_proxy", f"{word}_proxy".upper())
    ),
)
SCAN_PAUSE = 0.2  # seconds between two scans that must both find nothing
GRACE = 2.0  # seconds that an orphan gets to end by itself


def interpreter_path() -> str:
    """PATH with the folder of this interpreter first: its programs are ours."""
    own = str(Path(sys.executable).parent)
    return os.pathsep.join((own, os.environ.get("PATH") or os.defpath))


def base_environment() -> dict[str, str]:
    """What every child gets of this process's environment, and no more."""
    return {
        "HOME": home(),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
    }


def child_environment(uuid: str, operation_id: str | None) -> dict[str, str]:
    """The environment of a program that works for an operation; names both, for `end_orphans`.

    Without an operation it only reads, and nobody needs to end it.
    """
    found = {**base_environment(), "PATH": interpreter_path(), "PYTHONSAFEPATH": "1"}
    if operation_id is not None:
        found |= {ENVIRONMENT_VARIABLE: uuid, OPERATION_VARIABLE: operation_id}
    return found


def workers(uuid: str, *, but: str | None = None, only: str | None = None) -> list[psutil.Process]:
    """Processes that work for an environment: for no operation `but`, or for `only` one."""
    import psutil

    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            variables: Mapping[str, str] = process.environ()
            status = process.status()
        except (psutil.Error, OSError):
            continue
        if variables.get(ENVIRONMENT_VARIABLE) != uuid or status == psutil.STATUS_ZOMBIE:
            continue
        operation = variables.get(OPERATION_VARIABLE)
        if operation != but if only is None else operation == only:
            found.append(process)
    return found


def end(processes: list[psutil.Process], grace: float = GRACE) -> None:
    """End processes: SIGTERM, then SIGKILL after `grace` seconds."""
    import psutil

    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            try:
                process.send_signal(number)
            except psutil.Error:
                continue
        _, processes = psutil.wait_procs(processes, grace)
        if not processes:
            return


def end_orphans(uuid: str, operation_id: str) -> int:
    """End every process that works for an environment and for another operation than this one.

    Ansible and its workers outlive their parent, and may be about to fork: two scans in a row
    must find none. Returns how many were ended.
    """
    ended = 0
    while True:
        found = workers(uuid, but=operation_id)
        if not found:
            time.sleep(SCAN_PAUSE)
            found = workers(uuid, but=operation_id)
            if not found:
                return ended
        end(found)
        ended += len(found)
