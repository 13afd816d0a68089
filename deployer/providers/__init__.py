"""Providers: where an environment runs. Found in the workspace first, then in the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from deployer.environment.toml import TomlFile, file_error, suggest
from deployer.errors import Finding
from deployer.paths import TEMPLATES, Workspace
from deployer.providers.manifest import Provider, ProviderManifest

if TYPE_CHECKING:
    from pathlib import Path


def find(workspace: Workspace, name: str) -> Provider:
    """The provider `name`. Raises `FileError`."""
    folders = available(workspace)
    if name not in folders:
        raise file_error(
            [
                Finding(
                    "unknown-provider", f"there is no provider {name!r}", fix=suggest(name, folders)
                )
            ]
        )
    path = folders[name] / "provider.toml"
    file = TomlFile(path, workspace.shown(path))
    try:
        return Provider(folders[name], ProviderManifest.model_validate(file.data))
    except ValidationError as problem:
        raise file_error(file.findings(problem, ProviderManifest)) from None


def available(workspace: Workspace) -> dict[str, Path]:
    """Every provider's folder by name."""
    found = {}
    for base in (TEMPLATES / "providers", workspace.root / "providers"):
        for manifest in sorted(base.glob("*/provider.toml")):
            found[manifest.parent.name] = manifest.parent
    return found
