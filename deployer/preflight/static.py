"""The offline gates: what the target must offer, and what the files must say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployer import runtimes
from deployer.apps import bundle, render
from deployer.errors import FileError, Finding, GateError

if TYPE_CHECKING:
    from deployer.environment.load import Loaded
    from deployer.paths import Workspace


def check(workspace: Workspace, loaded: Loaded) -> None:
    """Prove what can be proved offline.

    Raises `FileError` where app or files can't be read into a release, `GateError` where the
    target lacks what is required. Each names everything that it found.
    """
    findings = capability_findings(workspace, loaded) + duplicate_ports(workspace, loaded)
    unreadable = _unreadable(workspace, loaded)
    if unreadable:
        raise FileError(
            str(unreadable[0]) if len(unreadable) == 1 else f"{len(unreadable)} things are wrong",
            findings=unreadable + findings,
        )
    if findings:
        raise GateError(
            str(findings[0]) if len(findings) == 1 else f"{len(findings)} things are wrong",
            findings=findings,
        )


def capability_findings(workspace: Workspace, loaded: Loaded) -> list[Finding]:
    """What app and runtime require and the provider doesn't offer."""
    provider = loaded.provider.manifest
    offered = set(provider.capabilities)
    wanted = [(f"the app {loaded.app.manifest.name}", c) for c in loaded.app.manifest.requires]
    runtime = loaded.configuration.runtime
    wanted += [(f"the runtime {runtime}", c) for c in sorted(runtimes.REQUIRES[runtime])]
    return [
        Finding(
            "capability",
            f"{who} requires {capability!r}, which the provider {provider.name} doesn't offer",
            fix=f"it offers: {', '.join(sorted(offered))}",
            file=workspace.shown(workspace.environment_file(loaded.configuration.name)),
        )
        for who, capability in wanted
        if capability not in offered
    ]


def duplicate_ports(workspace: Workspace, loaded: Loaded) -> list[Finding]:
    """Port settings of one environment that name the same port."""
    seen: dict[object, str] = {}
    findings = []
    for name, setting in loaded.app.manifest.settings.items():
        port = loaded.configuration.settings.get(name)
        if setting.type != "port" or name in loaded.open_ports:
            continue
        if port in seen:
            findings.append(
                Finding(
                    "duplicate-port",
                    f"settings.{name}: port {port} is settings.{seen[port]}'s already",
                    file=workspace.shown(workspace.environment_file(loaded.configuration.name)),
                    value=str(port),
                )
            )
        seen[port] = name
    return findings


def _unreadable(workspace: Workspace, loaded: Loaded) -> list[Finding]:
    # any host will do to see whether everything can be rendered
    somewhere = render.Target("localhost", "127.0.0.1", "127.0.0.1", "/srv/deployer/check")
    findings: list[Finding] = []
    try:
        bundle.scan(loaded.app.folder, workspace.shown(loaded.app.folder))
    except FileError as problem:
        findings += problem.findings
    try:
        now = datetime.now(UTC)
        render.render(loaded.app, loaded.configuration, somewhere, workspace.root, 1, now)
    except FileError as problem:
        findings += problem.findings
    return findings
