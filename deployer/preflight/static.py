"""The offline gates: what the target must offer, and what the files must say."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from deployer import providers, runtimes
from deployer.apps import bundle, render
from deployer.errors import FileError, Finding, GateError
from deployer.preflight import values

if TYPE_CHECKING:
    from deployer.apps.bundle import Bundle
    from deployer.environment.load import Loaded
    from deployer.paths import Workspace


def check(
    workspace: Workspace,
    loaded: Loaded,
    *,
    hooks: bool = True,
    fail_on: Literal["error", "warning"] = "error",
) -> list[Finding]:
    """Prove what can be proved offline; of `hooks` only if they are to be run.

    Returns the warnings.

    Raises `FileError` where app or files can't be read into a release, `GateError` where the
    target lacks what is required, or a value is wrong; with `fail_on="warning"` also where there
    are warnings. Each names everything that was found.
    """
    findings = capability_findings(workspace, loaded) + duplicate_ports(loaded)
    findings += values.findings(workspace, loaded)
    unreadable, scanned = _unreadable(workspace, loaded)
    if hooks:
        findings += _own_hooks(workspace, loaded)
        findings += _app_hooks(loaded, scanned) if scanned else []
    if unreadable:
        raise FileError(
            str(unreadable[0]) if len(unreadable) == 1 else f"{len(unreadable)} things are wrong",
            findings=unreadable + findings,
        )
    if any(finding.level == "error" or fail_on == "warning" for finding in findings):
        raise GateError(
            str(findings[0]) if len(findings) == 1 else f"{len(findings)} things are wrong",
            findings=findings,
        )
    return findings


def capability_findings(workspace: Workspace, loaded: Loaded) -> list[Finding]:
    """What app and runtime require and the provider doesn't offer."""
    provider = loaded.provider.manifest.name
    offered, lacking = providers.offered(loaded.provider), providers.lacking(loaded.provider)
    wanted = [(f"the app {loaded.app.manifest.name}", c) for c in loaded.app.manifest.requires]
    runtime = loaded.configuration.runtime
    wanted += [(f"the runtime {runtime}", c) for c in sorted(runtimes.REQUIRES[runtime])]
    if loaded.app.manifest.packages and not loaded.provider.local:
        wanted.append((f"packages in {loaded.app.file.shown}", "apt"))
    if loaded.configuration.firewall:
        wanted.append(("firewall = true", "firewall"))
    return [
        loaded.layers.finding(
            "capability",
            ("provider",),
            f"{who} requires {capability!r}, which the provider {provider} doesn't offer",
            fix=lacking.get(capability) or _who_offers(workspace, capability, loaded),
            value=provider,
        )
        for who, capability in wanted
        if capability not in offered
    ]


def _who_offers(workspace: Workspace, capability: str, loaded: Loaded) -> str:
    """What to choose instead: another provider; or another runtime, if it is the one that asks."""
    able = []
    for name in sorted(providers.available(workspace)):
        with suppress(FileError):  # one that is broken offers nothing
            if capability in providers.offered(providers.find(workspace, name)):
                able.append(name)
    ways = [f'provider = "{name}"' for name in able]
    manifest, offered = loaded.app.manifest, providers.offered(loaded.provider)
    if (
        capability in runtimes.REQUIRES[loaded.configuration.runtime]
        and capability not in manifest.requires
    ):
        fitting = [name for name in manifest.runtimes if runtimes.REQUIRES[name] <= offered]
        ways += [f'runtime = "{name}"' for name in fitting]
    return f"set {' or '.join(ways)}" if ways else "no provider here offers that"


def duplicate_ports(loaded: Loaded) -> list[Finding]:
    """Port settings of one environment that name the same port."""
    seen: dict[object, str] = {}
    findings = []
    for name, setting in loaded.app.manifest.settings.items():
        port = loaded.configuration.settings.get(name)
        if setting.type != "port" or name in loaded.open_ports:
            continue
        if port in seen:
            findings.append(
                loaded.layers.finding(
                    "duplicate-port",
                    ("settings", name),
                    f"port {port} is settings.{seen[port]}'s already",
                    value=port,
                )
            )
        seen[port] = name
    return findings


def _own_hooks(workspace: Workspace, loaded: Loaded) -> list[Finding]:
    """Hooks of the environment that aren't there, or can't be executed."""
    findings = []
    for name, words in loaded.configuration.hooks.items():
        path = workspace.root / words[0]
        if not path.is_file():
            problem, fix = "there is no such file", "a relative path starts at the workspace"
        elif not os.access(path, os.X_OK):
            problem, fix = "it isn't executable", f"chmod +x {shlex.quote(workspace.shown(path))}"
        else:
            continue
        findings.append(
            loaded.layers.finding(
                "hook", ["hooks", name], f"{words[0]}: {problem}", fix=fix, value=words[0]
            )
        )
    return findings


def _app_hooks(loaded: Loaded, scanned: Bundle) -> list[Finding]:
    """Hooks of the app that a release would not have, or could not execute."""
    app = loaded.app
    modes = {file.path: int(file.mode, 8) for file in app.manifest.files}
    modes |= {entry.path: entry.mode for entry in scanned.entries if entry.path not in modes}
    findings = []
    for name, words in app.manifest.hooks.items():
        mode = modes.get(words[0])
        if mode is None:
            problem = "no such file is in the bundle"
            fix = f"paths start at the folder of app.toml; {bundle.IGNORE_FILE} may name it"
        elif not mode & 0o001:
            problem = "it isn't executable"
            own = shlex.quote(f"{app.shown}/{words[0]}")
            fix = 'give it mode = "0755"' if _is_rendered(loaded, words[0]) else f"chmod +x {own}"
        else:
            continue
        findings.append(
            app.file.finding(
                "hook", ["hooks", name], f"{words[0]}: {problem}", fix=fix, value=words[0]
            )
        )
    return findings


def _is_rendered(loaded: Loaded, path: str) -> bool:
    return any(file.path == path for file in loaded.app.manifest.files)


def _unreadable(workspace: Workspace, loaded: Loaded) -> tuple[list[Finding], Bundle | None]:
    """What can't be read into a release; and the bundle, if that could be."""
    # any host will do to see whether everything can be rendered
    somewhere = render.Target("localhost", "127.0.0.1", "127.0.0.1", "/srv/deployer/check")
    findings: list[Finding] = []
    scanned = None
    try:
        scanned = bundle.scan(loaded.app.folder, loaded.app.shown, loaded.app.manifest.shared)
    except FileError as problem:
        findings += problem.findings
    try:
        now = datetime.now(UTC)
        render.render(loaded.app, loaded.configuration, somewhere, workspace.root, 1, now)
    except FileError as problem:
        findings += problem.findings
    return findings, scanned
