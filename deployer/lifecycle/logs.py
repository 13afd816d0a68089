"""What services wrote, on every host: the last lines, and what is added to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from deployer.errors import Code, NotFoundError
from deployer.lifecycle import hosts, remote
from deployer.tools.host_code import host_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.paths import Workspace
    from state.records import EnvironmentRecord


class Line(NamedTuple):
    """A line that a service wrote."""

    host: str
    service: str
    text: str


def lines(
    workspace: Workspace,
    record: EnvironmentRecord,
    service: str | None,
    last: int,
    *,
    since: float | None = None,
    follow: bool = False,
) -> Iterator[Line]:
    """The `last` lines of each service, or of one; on and on if they are to be followed.

    `since`, Unix time, leaves out what lines say to be older.

    Raises `NotFoundError` for a service that wrote no log on any host.
    """
    if not record.hosts:
        return
    if record.hosts[0].connection == hosts.LOCAL:
        yield from _local(workspace, record, service, last, since, follow)
        return
    request = {
        "action": "logs",
        "service": service,
        "lines": last,
        "since": since,
        "follow": follow,
    }
    calls = {}
    for host in record.hosts:
        spec = hosts.spec(workspace, record, host, 0)
        way = hosts.login(workspace, record, host)
        calls[host.name] = remote.Call(way, spec["python"], {**request, "spec": spec})
    known: set[str] = set()
    unknown = 0
    for name, value in remote.stream(calls, uuid=record.uuid):
        if isinstance(value, list):
            yield Line(name, *value)
        else:
            known.update(value["services"])
            unknown += value["unknown"]
    if service is not None and unknown == len(calls):
        raise _no_service(record.name, service, sorted(known))


def _local(
    workspace: Workspace,
    record: EnvironmentRecord,
    service: str | None,
    last: int,
    since: float | None,
    follow: bool,
) -> Iterator[Line]:
    code = host_code("logs")
    host = record.hosts[0]
    files = code.files(str(hosts.root(workspace, host)))
    if service is not None:
        if service not in files:
            raise _no_service(record.name, service, sorted(files))
        files = {service: files[service]}
    for line in code.of_all(files, last, since):
        yield Line(host.name, *line)
    if follow:
        for line in code.follow(files):
            yield Line(host.name, *line)


def _no_service(name: str, service: str, known: list[str]) -> NotFoundError:
    return NotFoundError(
        f"{name} has no logs of a service {service!r}",
        hint=f"It has logs of: {', '.join(known) or 'none yet'}",
        code=Code.SERVICE_NOT_FOUND,
    )
