"""Providers: where an environment runs. Found in the workspace first, then in the package."""

from __future__ import annotations

import os
import shutil
import subprocess
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pydantic import ValidationError

from deployer.environment.toml import TomlFile, file_error, suggest
from deployer.errors import Finding
from deployer.paths import TEMPLATES, Workspace
from deployer.providers.manifest import Provider, ProviderManifest
from deployer.tools import process, terraform
from deployer.tools.host_code import host_code

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

READY_TIMEOUT = 10.0  # seconds


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
    return read(workspace, folders[name])


def read(workspace: Workspace, folder: Path) -> Provider:
    """The provider whose manifest is in `folder`. Raises `FileError`."""
    path = folder / "provider.toml"
    file = TomlFile(path, workspace.shown(path))
    try:
        return Provider(folder, ProviderManifest.model_validate(file.data), file)
    except ValidationError as problem:
        raise file_error(file.findings(problem, ProviderManifest)) from None


def available(workspace: Workspace) -> dict[str, Path]:
    """Every provider's folder by name."""
    found = {}
    for base in (TEMPLATES / "providers", workspace.root / "providers"):
        for manifest in sorted(base.glob("*/provider.toml")):
            found[manifest.parent.name] = manifest.parent
    return found


def offered(provider: Provider) -> set[str]:
    """The capabilities of its hosts; where that is this machine, only those that it has got."""
    return set(provider.manifest.capabilities) - lacking(provider).keys()


def lacking(provider: Provider) -> dict[str, str]:
    """What its manifest offers and this machine, where that is its host, lacks now, and why."""
    if not provider.local or "systemd" not in provider.manifest.capabilities:
        return {}
    problem = host_code("manager").lacking({"host": "this machine"})
    return {"systemd": ". ".join(problem)} if problem else {}


def passed_on(patterns: Sequence[str]) -> dict[str, str]:
    """What a provider's programs get of this process's environment besides."""
    return {
        name: value
        for name, value in os.environ.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def unavailable(provider: Provider) -> str | None:
    """Why a provider can't be used from this machine, and how to change that; None if it can."""
    manifest = provider.manifest
    if manifest.kind == "terraform" and terraform.find() is None:
        return terraform.missing()
    path = process.interpreter_path()
    absent = [name for name in manifest.programs if shutil.which(name, path=path) is None]
    if absent:
        return f"{manifest.name} needs {' and '.join(absent)}, not installed here"
    if not manifest.ready:
        return None
    try:
        done = subprocess.run(
            manifest.ready,
            cwd=provider.folder,
            env={**process.base_environment(), **passed_on(manifest.environment), "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=READY_TIMEOUT,
        )
    except (OSError, subprocess.SubprocessError) as problem:
        return f"{manifest.name} can't be used: {problem}"
    if done.returncode == 0:
        return None
    said = (done.stderr or done.stdout).strip().splitlines()
    return f"{manifest.name} can't be used: {said[-1] if said else 'it is not ready'}"
