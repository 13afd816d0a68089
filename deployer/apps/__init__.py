"""Applications: folders with an `app.toml`, in the workspace, in the package, or brought there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from deployer.apps import reference
from deployer.apps.manifest import App, AppManifest
from deployer.apps.reference import Source
from deployer.apps.sources import Found, Sources
from deployer.environment.toml import TomlFile, file_error, suggest
from deployer.errors import Finding
from deployer.paths import NAME, TEMPLATES, Workspace

if TYPE_CHECKING:
    from pathlib import Path


def find(workspace: Workspace, text: str, sources: Sources | None = None) -> App:
    """The app that an environment file names; see `reference` for what it may be.

    A relative path is relative to the workspace. Without `sources` nothing is fetched. Raises
    `FileError`.
    """
    found: Found | None
    if NAME.fullmatch(text):
        found = _named(workspace, text)
    else:
        found = None if reference.is_remote(text) else _folder(workspace, text)
        found = found or (sources or Sources(workspace)).find(text)
    if found is None:
        shown = workspace.shown((workspace.root / text).resolve())
        raise file_error([Finding("unknown-app", f"there is no folder {shown}")])
    mine = found.source.kind in (reference.BUILT_IN, reference.FOLDER)
    shown = workspace.shown(found.folder) if mine else text
    return _read(found, shown, workspace.shown(found.folder / "app.toml") if mine else "")


def _named(workspace: Workspace, name: str) -> Found:
    folders = available(workspace)
    if name not in folders:
        raise file_error(
            [
                Finding(
                    "unknown-app",
                    f"there is no app {name!r}",
                    fix=suggest(name, folders)
                    + f"; for a folder of the workspace write './{name}'",
                )
            ]
        )
    folder = folders[name]
    if folder.is_relative_to(TEMPLATES):
        return Found(folder, Source(reference.BUILT_IN, name))
    return Found(folder, Source(reference.FOLDER, name, folder=folder))


def _folder(workspace: Workspace, text: str) -> Found | None:
    """The folder that `text` names, None if there is none."""
    try:
        folder = (workspace.root / text).resolve()
        there = folder.is_dir()
    except (OSError, ValueError, RuntimeError) as problem:
        # no path at all: a NUL in it, far too long, a link to itself
        reason = getattr(problem, "strerror", None) or str(problem)
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise file_error(
            [Finding("unknown-app", f"{shown!r} can't be a folder: {reason}")]
        ) from None
    return Found(folder, Source(reference.FOLDER, text, folder=folder)) if there else None


def _read(found: Found, shown: str, shown_file: str) -> App:
    path = found.folder / "app.toml"
    if not path.exists():
        fix = "see the guide to writing an application"
        if found.source.kind == reference.GIT:
            place, _, ref = shown.partition("#")
            fix = f"for a folder of it write {place}#{ref.partition(':')[0]}:FOLDER"
        elif (found.folder / "HEAD").is_file() and (found.folder / "objects").is_dir():
            fix = f"it is a git repository: write {found.source.reference}#BRANCH"
        raise file_error(
            [
                Finding(
                    "no-app-toml",
                    f"{shown} is no application: it has no app.toml",
                    fix=fix,
                )
            ]
        )
    file = TomlFile(path, shown_file or f"{shown}/app.toml")
    try:
        manifest = AppManifest.model_validate(file.data)
    except ValidationError as problem:
        raise file_error(file.findings(problem, AppManifest)) from None
    return App(found.folder, manifest, file, shown, found.source, found.hold)


def available(workspace: Workspace) -> dict[str, Path]:
    """Every app that can be named without a folder, with its folder."""
    found = {}
    for base in (TEMPLATES / "apps", workspace.root / "apps"):
        for manifest in sorted(base.glob("*/app.toml")):
            found[manifest.parent.name] = manifest.parent
    return found
