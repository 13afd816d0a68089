"""release: an immutable, numbered copy of the application on every host, and `current` on it."""

from __future__ import annotations

import hashlib
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deployer import events
from deployer.apps import bundle
from deployer.errors import Code, StepError, hosts_error
from deployer.lifecycle import build, comparison, configure, hosts, ports, readiness, remote
from deployer.lifecycle.candidate import Candidate, candidate, scan
from deployer.lifecycle.play import play
from deployer.lifecycle.steps import Step, StepResult
from state.records import ReleaseRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deployer.apps.bundle import Bundle
    from deployer.apps.render import Rendered
    from deployer.environment.load import Loaded
    from deployer.lifecycle.session import Session
    from deployer.lifecycle.steps import StepRun, VerbRun
    from deployer.paths import Workspace
    from state.records import EnvironmentRecord, HostRecord


def inputs(workspace: Workspace, record: EnvironmentRecord, loaded: Loaded) -> dict[str, Any]:
    """The identity that a release would have now, under the number of the last one."""
    last = record.inputs.get("release", {})
    now = datetime.fromisoformat(last["now"]) if last else datetime.now(UTC)
    scanned = scan(loaded)
    found = candidate(
        workspace, record, loaded, scanned, last.get("number", 1), now, only_look=True
    )
    return {"identity": found.identity, "number": found.number, "now": found.now.isoformat()}


def prepare(run: VerbRun) -> list[Step]:
    """Nothing to do where the same release is whole on every host; else one more number.

    The option `number` names a release that is there already, to switch to.
    """
    if run.options.get("number"):
        return _prepare_switch(run, run.options["number"])
    session, record = run.session, run.record
    workspace, loaded = session.workspace, session.loaded()
    configure.require(record, loaded)
    loaded.secrets.values(loaded.references)  # a person may be asked: before anything moves
    with run.looking("compare", "Compare the application with what is released") as step:
        scanned = scan(loaded)
        found = _again(session, record, scanned)
        seen = hosts.inspect(session.workspace, record, check_health=False, by=session)
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
        if not present:
            readiness.require_room(seen, scanned.size)
        now = datetime.now(UTC)
        chosen = found or candidate(workspace, record, loaded, scanned, number, now)
        step.result = StepResult(detail=_comparison(session, chosen, present))
    run.intent = {
        "identity": chosen.identity,
        "number": chosen.number,
        "now": chosen.now.isoformat(),
    }
    run.release = _record(run, chosen)
    run.keep = _to_keep(run, chosen.number)
    if present:
        # the bundle of an operation that failed after it was unpacked
        shutil.rmtree(workspace.build_dir(record.name), ignore_errors=True)
        return []
    before = {name: facts["current"] for name, facts in seen.items()}
    path = session.workspace.build_dir(record.name) / f"{chosen.bundle.digest[:16]}.tar"
    steps = [
        Step(
            "bundle-up",
            "Bundle the application",
            lambda _: _write_bundle(chosen, path),
            done=lambda: bundle.is_written(chosen.bundle, path),
        ),
        *_uploads(run, path),
    ]

    def install(step: StepRun) -> StepResult:
        return _install(step, chosen, path, before)

    def preview(step: StepRun) -> StepResult:
        return comparison.preview(step, chosen, _told(step, chosen), _digests(run))

    if not loaded.app.manifest.build:
        title = f"Put release {number} in place"
        return [*steps, Step("install", title, install, preview=preview)]
    title = f"Switch to release {number}"
    return [
        *steps,
        Step("unpack", f"Unpack release {number}", install, preview=preview),
        Step("build", f"Build release {number}", lambda s: _build(s, number)),
        Step(
            "switch",
            title,
            lambda s: _switch(s, number, keep=sorted(run.keep or ())),
            preview=lambda _: StepResult(changed=True),
        ),
    ]


def _digests(run: VerbRun) -> dict[str, str]:
    """Those of the secrets of the release that is current."""
    number = run.record.inputs.get("release", {}).get("number")
    current = run.session.store.release(run.record.id, number) if number else None
    return dict(current.manifest.get("digests", {})) if current else {}


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
    """The current release or the newest once more, if what would be released now is the same."""
    workspace, loaded = session.workspace, session.loaded()
    releases = session.store.releases(record.id)
    current = record.inputs.get("release", {}).get("number")
    for known in releases:
        if known.status == "cleared" or known.number not in (current, releases[0].number):
            continue
        made = datetime.fromisoformat(known.manifest["now"])
        found = candidate(workspace, record, loaded, scanned, known.number, made)
        if found.identity == known.identity:
            return found
    return None


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
        healthy_at=known.healthy_at if known else None,
        manifest={
            "now": chosen.now.isoformat(),
            "bundle": chosen.bundle.digest,
            "runtime": run.configuration.runtime,
            "ports": ports.wanted(run.session.loaded()),
            "source": app.source.to_record(),
            "hooks": app.manifest.hooks,
            "secrets": run.session.loaded().references,
            "digests": chosen.secrets,
            "hosts": {name: _public(found) for name, found in chosen.rendered.items()},
        },
    )


def _to_keep(run: VerbRun, number: int) -> set[int]:
    """The newest releases, the present one, those that may be up, and the last healthy one."""
    releases = [r for r in run.session.store.releases(run.record.id) if r.status != "cleared"]
    healthy = max(releases, key=lambda r: r.healthy_at or "", default=None)
    newest = sorted({number, *(r.number for r in releases)}, reverse=True)
    present = run.record.inputs.get("release", {}).get("number")
    return {
        *newest[: run.configuration.keep_releases],
        *run.record.serving,
        *([healthy.number] if healthy and healthy.healthy_at else ()),
        *([present] if present else ()),
    }


def _prepare_switch(run: VerbRun, number: int) -> list[Step]:
    """Back, or forth, to a release that is whole on every host."""
    release = run.session.store.release(run.record.id, number)
    assert release
    with run.looking("compare", f"See whether release {number} is there") as step:
        seen = hosts.inspect(
            run.session.workspace,
            run.record,
            check_health=False,
            by=run.session,
            verify=number,
        )
        wrong = {name: facts["verified"] for name, facts in seen.items() if facts["verified"]}
        if wrong:
            raise hosts_error(
                [
                    StepError(
                        f"release {number}: {problem}",
                        code=Code.RELEASE_BROKEN,
                        host=name,
                        hint="Choose another release, or release the application again.",
                    )
                    for name, problem in wrong.items()
                ],
                len(seen),
            )
        step.result = StepResult(detail=f"release {number} is there")
    run.intent = {
        "identity": release.identity,
        "number": number,
        "now": release.manifest["now"],
    }
    run.release = release
    if all(facts["current"] == number for facts in seen.values()):
        return []
    title = f"Switch to release {number}"
    return [
        Step("switch", title, lambda s: _switch(s, number)),
    ]


def _switch(step: StepRun, number: int, **more: Any) -> StepResult:
    return play(step, "switch", more=lambda _: {"number": number, **more})


def _public(rendered: Rendered) -> dict[str, Any]:
    return {
        "services": [
            {key: service[key] for key in ("name", "health", "url", "secrets") if key in service}
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


def _uploads(run: VerbRun, path: Path) -> list[Step]:
    if all(host.connection == hosts.LOCAL for host in run.record.hosts):
        return []
    return [Step("upload", "Upload the bundle", lambda step: _upload(step, path))]


def _upload(step: StepRun, path: Path) -> StepResult:
    run = step.run
    session, record = run.session, run.record
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    calls = {}
    for host in record.hosts:
        spec = hosts.spec(session.workspace, record, host, session.token, bundle=_there(host, path))
        calls[host.name] = remote.Call(
            hosts.login(session.workspace, record, host),
            spec["python"],
            {"action": "upload", "spec": spec, "digest": digest},
            path,
        )
    remote.call(
        calls,
        uuid=record.uuid,
        by=session,
        timeout=step.timeout,
        finished=lambda host: step.progress("bundle uploaded", "changed", host),
    )
    size = path.stat().st_size / 1e6
    return StepResult(changed=True, detail=f"bundle of {size:.1f} MB uploaded")


def _there(host: HostRecord, path: Path) -> str:
    """Where the bundle is for the module on a host."""
    return str(path) if host.connection == hosts.LOCAL else f"{host.root}/runtime/{path.name}"


def _install(
    step: StepRun, chosen: Candidate, path: Path, before: dict[str, int | None]
) -> StepResult:
    run = step.run
    if chosen.number not in before.values():
        step.undo_with("withdraw-release", number=chosen.number, before=before)

    told = _told(step, chosen)

    def more(host: HostRecord) -> dict[str, Any]:
        return {
            "bundle": _there(host, path),
            "keep": sorted(run.keep or ()),
            "rendered": chosen.rendered[host.name].files,
            **told(host),
        }

    result = play(step, "release", more=more)
    path.unlink(missing_ok=True)
    if not run.session.loaded().app.manifest.build:
        _tell_created(step, chosen.number)
    return result


def _told(step: StepRun, chosen: Candidate) -> Callable[[HostRecord], dict[str, Any]]:
    """What a host is told of the release itself."""
    # left out where there are none: what older releases have is still the same as this
    found = step.run.session.loaded().app.manifest.hooks
    hooks = {"hooks": found} if found else {}

    def told(host: HostRecord) -> dict[str, Any]:
        rendered = chosen.rendered[host.name]
        return {
            "release": {
                "number": chosen.number,
                "identity": chosen.identity,
                "services": rendered.services,
                "files": {**chosen.bundle.files(), **rendered.digests()},
                # left out where there is none: what older releases have is still the same
                **({"build": rendered.builds} if rendered.builds else {}),
                **({"shared": rendered.shared} if rendered.shared else {}),
                **hooks,
            },
        }

    return told


def _build(step: StepRun, number: int) -> StepResult:
    result = build.run(step, number)
    _tell_created(step, number)
    return result


def _tell_created(step: StepRun, number: int) -> None:
    run = step.run
    for host in run.record.hosts:
        run.session.publish(
            events.ResourceCreated,
            run.operation_id,
            provider=run.configuration.provider,
            resource_type="release",
            resource_id=f"{host.name}:{hosts.root(run.session.workspace, host)}/releases/{number}",
        )
