"""Ports: which are taken, by whom, and the reservation of free ones."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from deployer.errors import Finding, GateError
from deployer.lifecycle import hosts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.environment.load import Loaded
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


def first_free(start: int, taken: Mapping[int, str]) -> int:
    """The first port from `start` on that nobody has reserved and nobody listens on."""
    for port in range(start, LAST + 1):
        if port not in taken and is_free(port):
            return port
    raise GateError(
        f"No port from {start} on is free",
        hint="Name a lower one: --set settings.<name>=PORT",
        findings=[Finding("port-in-use", f"no port from {start} to {LAST} is free")],
    )


def check(workspace: Workspace, record: EnvironmentRecord | None, loaded: Loaded) -> list[int]:
    """Refuse ports that somebody else listens on. Raises `GateError` naming the process.

    A port that one of this environment's own services holds is free. Returns the ports.
    """
    own: set[int] = set()
    if record is not None:
        for facts in hosts.inspect(workspace, record, check_health=False).values():
            own.update(facts["processes"])
    findings, checked = [], []
    for name, setting in loaded.app.manifest.settings.items():
        port = loaded.configuration.settings.get(name)
        if setting.type != "port" or not isinstance(port, int) or name in loaded.open_ports:
            continue
        checked.append(port)
        if is_free(port):
            continue
        holder, pid = _holder(port)
        if pid is not None and pid in own:
            continue
        findings.append(
            Finding(
                "port-in-use",
                f"settings.{name}: port {port} is in use by {holder}",
                fix="end that process, or set another port",
                file=workspace.shown(workspace.environment_file(loaded.configuration.name)),
                value=str(port),
            )
        )
    if findings:
        raise GateError(
            "; ".join(finding.message for finding in findings),
            findings=findings,
        )
    return checked


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
