"""What is recorded, read without a lease. Imports nothing heavy: `list` must be quick."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from deployer.errors import NotFoundError
from deployer.paths import check_name
from deployer.results import ReleaseView, Summary, VerbResult
from state import machine
from state.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.paths import Workspace
    from state.records import EnvironmentRecord, OperationRecord, ReleaseRecord, StepRecord


def not_found(workspace: Workspace, name: str) -> NotFoundError:
    """The error for an environment that was never created."""
    return NotFoundError(
        f"There is no environment {name!r} in {workspace.root}",
        hint=f"Create it: deployer create {name}",
    )


@contextmanager
def reading(workspace: Workspace) -> Iterator[Store | None]:
    """The store, opened for reading; None where there is none yet."""
    store = Store.read(workspace.store)
    try:
        yield store
    finally:
        if store:
            store.close()


def environments(workspace: Workspace) -> list[EnvironmentRecord]:
    """Every environment that exists, by name."""
    with reading(workspace) as store:
        return [record for record in (store.environments() if store else []) if record.exists]


def environment(workspace: Workspace, name: str) -> EnvironmentRecord:
    """The newest generation of an environment, a destroyed one too. Raises `NotFoundError`."""
    check_name(name)
    with reading(workspace) as store:
        record = store.environment(name) if store else None
    if record is None:
        raise not_found(workspace, name)
    return record


def show(workspace: Workspace, name: str) -> Summary:
    """One environment as it is recorded; `verbs` are those of its last operation."""
    environment(workspace, name)
    with reading(workspace) as store:
        assert store
        last = store.operations(name, limit=1)
        ran = [verb_result(o) for o in last if o.verb in machine.VERBS and o.outcome]
        return summary(store, workspace, name, ran)


def history(
    workspace: Workspace, name: str, limit: int = -1
) -> list[tuple[OperationRecord, list[StepRecord]]]:
    """Operations of all generations with their steps, oldest first, the newest `limit` of them."""
    environment(workspace, name)
    with reading(workspace) as store:
        assert store
        return [(o, store.steps(o.id)) for o in store.operations(name, limit=limit)]


def made_by(workspace: Workspace, operations: list[OperationRecord]) -> dict[str, ReleaseRecord]:
    """The releases that operations made, by the id of the operation."""
    wanted = {o.environment_id for o in operations}
    with reading(workspace) as store:
        found = [r for number in wanted for r in (store.releases(number) if store else ())]
    return {release.operation_id: release for release in found if release.operation_id}


def releases(workspace: Workspace, name: str) -> list[ReleaseView]:
    """The releases of an environment's newest generation, newest first."""
    record = environment(workspace, name)
    with reading(workspace) as store:
        assert store
        found = store.releases(record.id)
        current = record.inputs.get("release", {}).get("number")
        healthy = max(found, key=lambda one: one.healthy_at or "", default=None)
        views = []
        for one in found:
            made_by = store.operation(one.operation_id) if one.operation_id else None
            views.append(
                ReleaseView(
                    number=one.number,
                    version=f"{one.app} {one.app_version}",
                    status=one.status,
                    created_at=one.created_at,
                    current=one.number == current,
                    serving=one.number in record.serving,
                    last_healthy=bool(one.healthy_at) and one is healthy,
                    actor=made_by.actor if made_by else None,
                    healthy_at=one.healthy_at,
                    source=one.manifest.get("source"),
                )
            )
        return views


def summary(
    store: Store,
    workspace: Workspace,
    name: str,
    ran: list[VerbResult],
    *,
    operation_id: str | None = None,
    correlation_id: str | None = None,
    seconds: float | None = None,
) -> Summary:
    """The environment as it is recorded now, with what an operation ran."""
    record = store.environment(name)
    if record is None:
        raise not_found(workspace, name)
    number = record.inputs.get("release", {}).get("number")
    release = store.release(record.id, number) if number else None
    urls = []
    source = release.manifest.get("source") if release and record.exists else None
    if release and record.exists and release.status != "cleared":
        urls = [url for host in release.manifest["hosts"].values() for url in host["urls"]]
    return Summary(record, urls, ran, operation_id, correlation_id, seconds, source)


def verb_result(operation: OperationRecord) -> VerbResult:
    """A recorded operation as a result."""
    return VerbResult(
        operation.verb,
        operation.outcome or "",
        bool(operation.changed),
        operation.seconds or 0.0,
    )
