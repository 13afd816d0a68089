"""A small world in memory where the tools would act, and faults that strike at any point in it.

It stands behind the program's own seams (the playbooks' run, the look at a host, the scan for
processes); the table, the planner, the engine and the store above them are the real ones.
"""

from __future__ import annotations

import base64
import json
import signal
import sqlite3
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployer.errors import Code, StepError
from deployer.lifecycle import configure, hosts, ports, run
from deployer.tools import ansible, process
from deployer.tools.ansible import HostResult, Play, TaskReport
from deployer.tools.interrupt import Interrupt
from state.errors import StoreError
from state.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from state.records import EnvironmentRecord

HOST = "localhost"
ACTING = {
    "configure": "configuring",
    "release": "releasing",
    "run": "starting",
    "stop": "stopping",
    "clear": "clearing",
    "destroy": "destroying",
}


class Killed(BaseException):
    """The process ends here, as by SIGKILL: from now on it does nothing, and records nothing."""


@dataclass
class Fault:
    """What goes wrong when an operation reaches its n-th point, counted from 1.

    `kill`: SIGKILL. `fail`: the tool fails there; where the store is written, the disk is full
    from then on. `flicker`: the tool fails once, and is worth another try. `sigint`, `sigint2`:
    one SIGINT, two of them.
    """

    at: int
    kind: str
    struck: str | None = None
    """The point that it struck."""


@dataclass
class World:
    """One host with what is on it, and the children of operations."""

    store: Path
    code: str = "a"
    """The version of what configure installs."""
    prepared: str | None = None
    owner: str | None = None
    releases: dict[int, dict[str, Any]] = field(default_factory=dict)
    current: int | None = None
    up: int | None = None
    healthy: bool = False
    sick: bool = False
    """The application can't become healthy."""
    token: int = 0
    children: dict[str, Callable[[], object]] = field(default_factory=dict)
    """Operation → what its child, still alive, will do if nobody ends it."""
    fault: Fault | None = None
    points: list[str] = field(default_factory=list)
    dead: bool = False
    full: bool = False
    changes: dict[str, bool] = field(default_factory=dict)
    """Playbook → whether it changed something, in this operation."""

    # ---- what is there

    @property
    def whole(self) -> bool:
        return self.current is not None and self.current in self.releases

    @property
    def good(self) -> bool:
        return self.whole and self.up == self.current and self.healthy

    @property
    def empty(self) -> bool:
        nothing = (self.prepared, self.owner, self.current, self.up) == (None,) * 4
        return nothing and not self.releases and not self.children

    def content(self) -> tuple[str, str] | None:
        """The app's text and title that are released: as digest and value."""
        if not self.whole or self.current is None:
            return None
        release = self.releases[self.current]
        title = release["services"][0]["environment"]["TITLE"]
        return release["files"]["text.txt"][1], title

    # ---- what happens by itself

    def service_dies(self) -> None:
        self.up, self.healthy = None, False

    def service_hangs(self) -> None:
        self.healthy = False

    def release_removed(self) -> None:
        if self.current is not None:
            self.releases.pop(self.current, None)

    def host_folder_removed(self) -> None:
        self.prepared = self.owner = self.current = None
        self.releases = {}

    def reboot(self) -> None:
        self.service_dies()
        self.children, self.token = {}, 0

    def orphans_go_on(self) -> None:
        for finish in list(self.children.values()):
            finish()

    # ---- faults

    def operation_starts(self, fault: Fault | None) -> None:
        self.fault, self.points, self.changes = fault, [], {}
        self.dead = self.full = False

    def reach(self, point: str) -> None:
        if self.dead:
            raise Killed
        self.points.append(point)
        fault = self.fault
        if fault is None or len(self.points) != fault.at:
            return
        fault.struck = point
        match fault.kind:
            case "kill":
                self.dead = True
                raise Killed
            case "sigint":
                signal.raise_signal(signal.SIGINT)
            case "sigint2":
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
            case "fail" | "flicker" if "write" in point:
                self.full = True
            case "fail" | "flicker":
                raise StepError(
                    "the host doesn't answer",
                    code=Code.HOST_UNREACHABLE,
                    host=HOST,
                    # as for real: worth another try only before the first task
                    transient=fault.kind == "flicker" and point.startswith("before"),
                )

    # ---- the seams

    def inspect(
        self,
        _workspace: object,
        record: EnvironmentRecord,
        *,
        check_health: bool = True,
        by: object = None,
        silent: dict[str, StepError] | None = None,
        ports: object = None,
    ) -> dict[str, dict[str, Any]]:
        if not record.hosts:
            return {}
        try:
            self.reach("look")
        except StepError as problem:
            if silent is None:
                raise
            silent[HOST] = problem
            return {}
        assert self.owner in (None, record.uuid), "it looks at another environment's folder"
        wrong = None
        if self.up is None:
            wrong = "it is down"
        elif self.up != self.current:
            wrong = f"it runs release {self.up}, current is {self.current}"
        elif check_health and not self.healthy:
            wrong = "it hangs"
        release = self.releases.get(self.current or 0)
        return {
            HOST: {
                "prepared": self.prepared is not None,
                "owner": self.owner,
                "current": self.current,
                "identity": release["identity"] if release else None,
                "problem": None if release or self.current is None else "it has no manifest",
                "services": {"web": {"problem": wrong}} if release else {},
                "releases": sorted(self.releases),
                "there": self.owner is not None,
                "processes": [1] if self.up is not None else [],
                "room": 10**12,
                "clock": time.time(),
            }
        }

    def check_ports(
        self,
        _workspace: object,
        _record: object,
        _wanted: object,
        _by: object = None,
        _seen: object = None,
    ) -> None:
        self.reach("ports")

    def play(
        self, play: Play, _report: Callable[[TaskReport], None], interrupt: Interrupt
    ) -> dict[str, HostResult]:
        operation = play.environment[process.OPERATION_VARIABLE]
        assert not set(self.children) - {operation}, "an operation acts beside an orphan"
        (variables,) = play.variables.values()
        spec = json.loads(base64.b64decode(variables["deployer_spec"]))
        assert not self.full, "it acts though nothing can be recorded"
        self._check_intent(play, spec)
        action = self._action(play.playbook, spec)
        self.children[operation] = lambda: [None for _ in action]
        result = HostResult(results=[{}])
        assert spec["token"] >= self.token, "an older operation acts"
        self.token = spec["token"]
        self._reach(f"before {play.playbook}", interrupt)
        try:
            for _ in action:
                self._reach(f"in {play.playbook}", interrupt)
            self._reach(f"after {play.playbook}", interrupt)
        except StepError as problem:
            result.error = problem
        del self.children[operation]
        result.changed = self.changes.get(play.playbook, False)
        return {HOST: result}

    def _reach(self, point: str, interrupt: Interrupt) -> None:
        self.reach(point)
        if interrupt.number is not None:
            raise interrupt.error()

    def _check_intent(self, play: Play, spec: dict[str, Any]) -> None:
        """The intent is in the store before anything is touched."""
        connection = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)
        state, serving = connection.execute(
            "SELECT state, serving FROM environments JOIN hosts ON environment_id = id"
            " WHERE uuid = ?",
            (play.uuid,),
        ).fetchone()
        connection.close()
        assert state == ACTING[play.playbook]
        if play.playbook == "run":
            assert spec["number"] in json.loads(serving), "it starts what `serving` does not name"

    def _action(self, playbook: str, spec: dict[str, Any]) -> Iterator[None]:
        """The playbook's effects, one after the other; between them a fault may strike."""

        def change(**values: object) -> None:
            self.changes[playbook] = True
            for name, value in values.items():
                setattr(self, name, value)

        if playbook in ("release", "run") and self.owner != spec["uuid"]:
            raise StepError("the host is not prepared", code=Code.HOST_FAILED, host=HOST)
        if playbook == "configure" and (self.prepared, self.owner) != (self.code, spec["uuid"]):
            change(prepared=None, owner=spec["uuid"])
            yield
            change(prepared=self.code)
        elif playbook == "release":
            release = spec["release"]
            number = release["number"]
            if self.releases.get(number) != release:
                assert self.up != number, "it writes the release that is up"
                change(releases={**self.releases, number: release})
                yield
            if self.current != number:
                change(current=number)
        elif playbook == "run":
            number = spec["number"]
            if self.current != number or not self.whole:
                raise StepError("the release is broken", code=Code.RELEASE_BROKEN, host=HOST)
            if self.up != number or not self.healthy or self.sick:
                change(up=None, healthy=False)
                yield
                change(up=number)
                yield
                if self.sick:
                    raise StepError("web is not healthy", code=Code.UNHEALTHY, host=HOST)
                change(healthy=True)
        elif playbook == "stop" and self.up is not None:
            change(up=None, healthy=False)
        elif playbook == "clear" and (self.releases or self.current):
            assert self.up is None, "it removes the release under a live service"
            change(current=None)
            yield
            change(releases={})
        elif playbook == "destroy":
            change(up=None, healthy=False)
            yield
            change(releases={}, current=None, prepared=None)
            yield
            change(owner=None)

    def workers(self, _uuid: str, *, but: str | None = None, only: str | None = None) -> list[str]:
        return [op for op in self.children if (op != but if only is None else op == only)]

    def end(self, processes: list[str], _grace: float = 0) -> None:
        self.reach("end children")
        for operation in processes:
            del self.children[operation]

    def end_orphans(self, uuid: str, operation_id: str) -> int:
        found = self.workers(uuid, but=operation_id)
        self.end(found)
        return len(found)

    @contextmanager
    def transaction(self, store: Store, real: Callable[..., Any], durable: bool) -> Iterator[None]:
        self.reach("before a write")
        if self.full:
            raise StoreError("database or disk is full")
        with real(store, durable=durable):
            yield
        self.reach("after a write")

    def stand_in(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        """Take the place of the tools until `patch` is undone."""
        real = Store.transaction
        patch.setattr(
            Store,
            "transaction",
            lambda store, *, durable=True: self.transaction(store, real, durable),
        )
        patch.setattr(hosts, "inspect", self.inspect)
        patch.setattr(hosts, "private_dir", lambda *parts: folder.joinpath(*parts))
        patch.setattr(ports, "check", self.check_ports)
        patch.setattr(ports, "check_here", lambda *_: None)
        patch.setattr(run, "_unreachable", lambda _url: None)
        patch.setattr(configure, "_code", lambda: self.code)
        patch.setattr(ansible, "run", self.play)
        patch.setattr(ansible, "sweep", lambda _uuid: None)
        patch.setattr(process, "workers", self.workers)
        patch.setattr(process, "end", self.end)
        patch.setattr(process, "end_orphans", self.end_orphans)
        patch.setattr(Interrupt, "sleep", lambda interrupt, _seconds: interrupt.check())
