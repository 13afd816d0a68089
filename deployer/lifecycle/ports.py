"""Ports: which are taken, by whom, and the reservation of free ones."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

from deployer.errors import Finding, GateError
from deployer.lifecycle import hosts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.environment.load import Loaded
    from deployer.lifecycle.session import Session
    from deployer.paths import Workspace
    from state.records import EnvironmentRecord

LAST = 65535


def is_free(port: int) -> bool:
    """Whether a service could listen on `port` on this machine."""
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((address, port))
        except OSError as problem:
            if problem.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
    return True


def first_free(start: int, taken: Mapping[int, str], *, here: bool) -> int:
    """The first port from `start` on that nobody has reserved and, `here`, nobody listens on."""
    for port in range(start, LAST + 1):
        if port not in taken and not (here and not is_free(port)):
            return port
    raise GateError(
        f"No port from {start} on is free",
        hint="Name a lower one: --set settings.<name>=PORT",
        findings=[Finding("port-in-use", f"no port from {start} to {LAST} is free")],
    )


def wanted(loaded: Loaded) -> dict[str, int]:
    """The ports that an app's settings name, by the settings' names."""
    return {
        name: port
        for name, setting in loaded.app.manifest.settings.items()
        if setting.type == "port" and name not in loaded.open_ports
        for port in [loaded.configuration.settings.get(name)]
        if isinstance(port, int)
    }


def check_here(workspace: Workspace, name: str, asked: Mapping[str, int]) -> None:
    """Refuse ports that anybody listens on, on this machine. Raises `GateError`."""
    _refuse(workspace, name, asked, _here(asked, {}))


def check(
    workspace: Workspace,
    record: EnvironmentRecord,
    asked: Mapping[str, int],
    by: Session | None = None,
    seen: Mapping[str, dict[str, Any]] | None = None,
) -> None:
    """Refuse ports that somebody else listens on, on any host. Raises `GateError`.

    A port that one of this environment's own services holds is free; of hosts that don't exist
    yet nothing is known. `seen` is what `hosts.inspect` with these ports has just told, where
    somebody has asked already.
    """
    here = any(host.connection == hosts.LOCAL for host in record.hosts)
    if not record.hosts or not asked or (record.rank < 1 and not here):
        return
    if seen is None:
        ports = sorted(asked.values())
        seen = hosts.inspect(workspace, record, check_health=False, by=by, ports=ports)
    holders = _here(asked, seen) if here else _there(asked, seen)
    _refuse(workspace, record.name, asked, holders)


def _refuse(
    workspace: Workspace,
    environment: str,
    asked: Mapping[str, int],
    holders: list[tuple[str, str]],
) -> None:
    findings = [
        Finding(
            "port-in-use",
            f"settings.{name}: port {asked[name]} is in use by {holder}",
            fix="end that process, or set another port",
            file=workspace.shown(workspace.environment_file(environment)),
            value=str(asked[name]),
        )
        for name, holder in holders
    ]
    if findings:
        raise GateError(
            "; ".join(finding.message for finding in findings),
            findings=findings,
        )


def _here(asked: Mapping[str, int], seen: Mapping[str, dict[str, Any]]) -> list[tuple[str, str]]:
    own = {pid for facts in seen.values() for pid in facts["processes"]}
    found = []
    for name, port in asked.items():
        if not is_free(port):
            holder, pid = _holder(port)
            if pid is None or pid not in own:
                found.append((name, holder))
    return found


def _there(asked: Mapping[str, int], seen: Mapping[str, dict[str, Any]]) -> list[tuple[str, str]]:
    return [
        (name, f"{holder} on {host}")
        for name, port in asked.items()
        for host, facts in seen.items()
        if (holder := facts["listening"].get(str(port)))
    ]


def _holder(port: int) -> tuple[str, int | None]:
    """Who listens on `port`, in words, and its pid where that can be told."""
    import psutil

    if port < 1024:
        try:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except PermissionError:
            return "nobody, but it takes root to listen below 1024", None
        except OSError:
            pass
    try:
        connections = psutil.net_connections("inet")
    except psutil.Error:
        return "a process of another user", None
    for connection in connections:
        local = connection.laddr
        if local and local.port == port and connection.status == psutil.CONN_LISTEN:
            if connection.pid is None:
                return "a process of another user", None
            try:
                process = psutil.Process(connection.pid)
                return f"{process.name()} (pid {connection.pid})", connection.pid
            except psutil.Error:
                continue
    return "a process that can't be seen from here", None
