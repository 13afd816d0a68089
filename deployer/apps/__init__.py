"""Applications: folders with an `app.toml`. Found in the workspace first, then in the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from deployer.apps.manifest import App, AppManifest
from deployer.environment.toml import TomlFile, file_error, suggest
from deployer.errors import Finding
from deployer.paths import NAME, TEMPLATES, Workspace

if TYPE_CHECKING:
    from pathlib import Path


def find(workspace: Workspace, reference: str) -> App:
    """The app that an environment file names: a folder, or a name below apps/ or built in.

    A relative folder is relative to the workspace. Raises `FileError`.
    """
    if NAME.fullmatch(reference):
        folders = available(workspace)
        if reference not in folders:
            raise file_error(
                [
                    Finding(
                        "unknown-app",
                        f"there is no app {reference!r}",
                        fix=suggest(reference, folders)
                        + f"; for a folder of the workspace write './{reference}'",
                    )
                ]
            )
        folder = folders[reference]
    else:
        try:
            folder = (workspace.root / reference).resolve()
            there = folder.is_dir()
        except (OSError, ValueError, RuntimeError) as problem:
            # no path at all: a NUL in it, far too long, a link to itself
            reason = getattr(problem, "strerror", None) or str(problem)
            shown = reference if len(reference) <= 60 else reference[:57] + "..."
            raise file_error(
                [Finding("unknown-app", f"{shown!r} can't be a folder: {reason}")]
            ) from None
        if not there:
            raise file_error(
                [Finding("unknown-app", f"there is no folder {workspace.shown(folder)}")]
            )
    path = folder / "app.toml"
    shown = workspace.shown(path)
    if not path.exists():
        raise file_error(
            [
                Finding(
                    "no-app-toml",
                    f"{workspace.shown(folder)} is no application: it has no app.toml",
                    fix="see the guide to writing an application",
                )
            ]
        )
    file = TomlFile(path, shown)
    try:
        manifest = AppManifest.model_validate(file.data)
    except ValidationError as problem:
        raise file_error(file.findings(problem, AppManifest)) from None
    return App(folder, manifest, file)


def available(workspace: Workspace) -> dict[str, Path]:
    """Every app that can be named without a folder, with its folder."""
    found = {}
    for base in (TEMPLATES / "apps", workspace.root / "apps"):
        for manifest in sorted(base.glob("*/app.toml")):
            found[manifest.parent.name] = manifest.parent
    return found
