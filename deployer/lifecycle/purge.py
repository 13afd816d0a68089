"""purge: the records of a destroyed environment, removed for good."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from deployer.errors import NotAllowedError
from deployer.tools import process
from deployer.tools.host_code import host_code
from state.machine import State

if TYPE_CHECKING:
    from deployer.lifecycle.session import Session


def purge(session: Session) -> None:
    """Remove every generation's records and logs.

    Raises `NotAllowedError` while anything of the environment may be alive.
    """
    name, workspace, store = session.name, session.workspace, session.store
    record = session.record()
    if record.state is not State.DESTROYED:
        raise NotAllowedError(
            f"{name} is {record.state.value}; only the records of a destroyed environment go",
            hint=f"Run first: deployer destroy {name}",
        )
    alive = []
    if workspace.host_dir(name).exists():
        alive.append(f"the folder {workspace.host_dir(name)} is still there")
    procs = host_code("procs")
    for generation in store.generations(name):
        pids = [pid for pid, _ in procs.of_environment(generation.uuid)]
        pids += [worker.pid for worker in process.workers(generation.uuid)]
        if pids:
            alive.append(f"processes of it are still up: {', '.join(map(str, sorted(pids)))}")
    if alive:
        raise NotAllowedError(
            f"Something of {name} may be alive: {'; '.join(alive)}",
            hint="End that by hand; its records are the only trace of it.",
        )
    store.purge(name, session.token)
    shutil.rmtree(workspace.environment_dir(name) / "logs", ignore_errors=True)
