"""release: an immutable, numbered copy of the application on every host, and `current` on it."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deployer import events
from deployer.apps import bundle, render
from deployer.lifecycle import hosts
from deployer.lifecycle.play import play
from deployer.lifecycle.steps import Step, StepResult
from state.records import ReleaseRecord

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.apps.bundle import Bundle
    from deployer.apps.render import Rendered
    from deployer.environment.load import Loaded
    from deployer.lifecycle.session import Session
    from deployer.lifecycle.steps import StepRun, VerbRun
    from deployer.paths import Workspace
    from state.records import EnvironmentRecord, HostRecord


@dataclass(frozen=True)
class Candidate:
    """What would be released under a number. `identity` is the same for the same release."""

    number: int
    now: datetime
    bundle: Bundle
    rendered: dict[str, Rendered]
    identity: str


def inputs(workspace: Workspace, record: EnvironmentRecord, loaded: Loaded) -> dict[str, Any]:
    """The identity that a release would have now, under the number of the last one."""
    last = record.inputs.get("release", {})
    now = datetime.fromisoformat(last["now"]) if last else datetime.now(UTC)
    scanned = _scan(workspace, loaded)
    found = candidate(workspace, record, loaded, scanned, last.get("number", 1), now)
    return {"identity": found.identity, "number": found.number, "now": found.now.isoformat()}


def _scan(workspace: Workspace, loaded: Loaded) -> Bundle:
    return bundle.scan(loaded.app.folder, workspace.shown(loaded.app.folder))


def candidate(
    workspace: Workspace,
    record: EnvironmentRecord,
    loaded: Loaded,
    scanned: Bundle,
    number: int,
    now: datetime,
) -> Candidate:
    """Render the app for every host, as release `number` made at `now`."""
    rendered = {
        host.name: render.render(
            loaded.app,
            loaded.configuration,
            hosts.target(workspace, host),
            workspace.root,
            number,
            now,
        )
        for host in record.hosts
    }
    parts = {
        "bundle": scanned.digest,
        "runtime": loaded.configuration.runtime,
        "hosts": {name: [r.services, r.digests()] for name, r in rendered.items()},
    }
    identity = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return Candidate(number, now, scanned, rendered, identity)


def prepare(run: VerbRun) -> list[Step]:
    """Nothing to do where the same release is whole on every host; else one more number."""
    session, record = run.session, run.record
    workspace, loaded = session.workspace, session.loaded()
    with run.looking("compare", "Compare the application with what is released") as step:
        scanned = _scan(workspace, loaded)
        found = _again(session, record, scanned)
        seen = hosts.inspect(session.workspace, record, check_health=False)
        if found and _can_keep(found.number, record.hosts, seen):
            number = found.number
        else:
            number = _next_number(session, record, seen)
            found = None
        present = found is not None and all(
            facts["current"] == number
            and facts["identity"] == found.identity
            and facts["problem"] is None
            for facts in seen.values()
        )
        now = datetime.now(UTC)
        chosen = found or candidate(workspace, record, loaded, scanned, number, now)
        step.result = StepResult(detail=_comparison(session, chosen, present))
    run.intent = {
        "identity": chosen.identity,
        "number": chosen.number,
        "now": chosen.now.isoformat(),
    }
    run.release = _record(run, chosen)
    if present:
        # the bundle of an operation that failed after it was unpacked
        shutil.rmtree(workspace.build_dir(record.name), ignore_errors=True)
        return []
    before = {name: facts["current"] for name, facts in seen.items()}
    path = session.workspace.build_dir(record.name) / f"{chosen.bundle.digest[:16]}.tar"
    return [
        Step(
            "bundle-up",
            "Bundle the application",
            lambda _: _write_bundle(chosen, path),
            done=lambda: bundle.is_written(chosen.bundle, path),
        ),
        Step(
            "install",
            f"Put release {number} in place",
            lambda step: _install(step, chosen, path, before),
        ),
    ]


def _next_number(
    session: Session, record: EnvironmentRecord, seen: dict[str, dict[str, Any]]
) -> int:
    """One above all that is recorded and all that is there: a store may have been put back."""
    known = {release.number for release in session.store.releases(record.id)}
    return 1 + max(known.union(*(facts["releases"] for facts in seen.values())), default=0)


def _comparison(session: Session, chosen: Candidate, present: bool) -> str:
    app = session.loaded().app.manifest
    word = "is release" if present else "becomes release"
    return f"{app.name} {app.version} {word} {chosen.number}"


def _again(session: Session, record: EnvironmentRecord, scanned: Bundle) -> Candidate | None:
    """The newest release once more, if what would be released now is the same."""
    releases = session.store.releases(record.id)
    if not releases or releases[0].status == "cleared":
        return None
    last = releases[0]
    made = datetime.fromisoformat(last.manifest["now"])
    workspace, loaded = session.workspace, session.loaded()
    found = candidate(workspace, record, loaded, scanned, last.number, made)
    return found if found.identity == last.identity else None


def _can_keep(number: int, known: list[HostRecord], seen: dict[str, dict[str, Any]]) -> bool:
    """A release that may be up is never written again: another number takes its place."""
    return all(
        number not in host.serving
        or (seen[host.name]["current"] == number and seen[host.name]["problem"] is None)
        for host in known
    )


def _record(run: VerbRun, chosen: Candidate) -> ReleaseRecord:
    app = run.session.loaded().app
    known = run.session.store.release(run.record.id, chosen.number)
    return ReleaseRecord(
        environment_id=run.record.id,
        number=chosen.number,
        identity=chosen.identity,
        status="releasing",
        created_at=known.created_at if known else chosen.now.isoformat(timespec="milliseconds"),
        operation_id=known.operation_id if known else run.operation_id,
        app=app.manifest.name,
        app_version=app.manifest.version,
        manifest={
            "now": chosen.now.isoformat(),
            "bundle": chosen.bundle.digest,
            "runtime": run.configuration.runtime,
            "hosts": {name: _public(found) for name, found in chosen.rendered.items()},
        },
    )


def _public(rendered: Rendered) -> dict[str, Any]:
    return {
        "services": [
            {key: service[key] for key in ("name", "health", "url")}
            for service in rendered.services
        ],
        "urls": rendered.urls,
    }


def _write_bundle(chosen: Candidate, path: Path) -> StepResult:
    # what an operation that was cut short left there is not needed any more
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir(mode=0o700, parents=True)
    bundle.write(chosen.bundle, path)
    count = len(chosen.bundle.entries)
    return StepResult(changed=True, detail=f"{count} file{'' if count == 1 else 's'} bundled")


def _install(
    step: StepRun, chosen: Candidate, path: Path, before: dict[str, int | None]
) -> StepResult:
    run = step.run
    if chosen.number not in before.values():
        step.undo_with("withdraw-release", number=chosen.number, before=before)

    def more(host: HostRecord) -> dict[str, Any]:
        rendered = chosen.rendered[host.name]
        return {
            "bundle": str(path),
            "rendered": rendered.files,
            "release": {
                "number": chosen.number,
                "identity": chosen.identity,
                "services": rendered.services,
                "files": {**chosen.bundle.files(), **rendered.digests()},
            },
        }

    result = play(step, "release", more=more)
    path.unlink(missing_ok=True)
    for host in run.record.hosts:
        run.session.publish(
            events.ResourceCreated,
            run.operation_id,
            provider=run.configuration.provider,
            resource_type="release",
            resource_id=f"{host.name}:{hosts.root(run.session.workspace, host)}"
            f"/releases/{chosen.number}",
        )
    return result
