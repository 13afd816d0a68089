"""Which files the value gate looks at: what is the user's, and what nobody ignores."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from deployer.apps import bundle
from deployer.paths import TEMPLATES
from deployer.preflight.values.readers import KINDS
from deployer.tools import git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from deployer.environment.load import Loaded
    from deployer.paths import Workspace

MAX_SEEN = 50_000
# other people's, and many
_OTHERS = frozenset({"node_modules", "site-packages"})


@dataclass
class Files:
    """Every file of the user by path, with what findings call it."""

    shown: dict[Path, str] = field(default_factory=dict)
    too_many: str = ""
    """The folder that has more files than are looked at."""

    def __post_init__(self) -> None:
        self._roots: list[str] = []
        self._names: set[str] | None = None

    def add(self, root: Path, shown: str) -> None:
        """Add what is below a folder, and not ignored by git or by its `.deployerignore`.

        A folder in it that was added before is left to its own rules.
        """
        found = list(islice(_below(root), MAX_SEEN + 1))
        if len(found) > MAX_SEEN:
            self.too_many = shown
        roots = tuple(self._roots)
        for name in found[:MAX_SEEN]:
            path = root / name
            if not str(path).startswith(roots):
                said = name if shown == "." else f"{shown}/{name}"
                self.shown[path] = said.encode("utf-8", "replace").decode()
        self._roots.append(f"{root}/")

    def readable(self) -> list[tuple[Path, str]]:
        """Those that have a reader, and what findings call them, in order."""
        return sorted(item for item in self.shown.items() if item[0].suffix in KINDS)

    def has(self, path: str) -> bool:
        """Whether a path ends any file's or folder's."""
        if self._names is None:
            self._names = set()
            for file in self.shown:
                parts = file.parts
                self._names.update("/".join(parts[-n:]) for n in range(1, len(parts)))
                self._names.update(parts)
        return path in self._names


def find(workspace: Workspace, loaded: Loaded) -> Files:
    """The files of app, provider, the user's own module, and workspace.

    Other environments' files are theirs to answer for; what is packaged with deployer is ours.
    """
    files = Files()
    provider = loaded.provider
    roots = [(provider.folder, workspace.shown(provider.folder))]
    if provider.manifest.own_module:
        given = loaded.configuration.provider_options["module"]
        module = (workspace.root / given).expanduser().resolve()
        roots.append((module, workspace.shown(module)))
    roots.append((loaded.app.folder, loaded.app.shown))
    roots.append((workspace.root, workspace.shown(workspace.root)))
    for root, shown in roots:
        if root.is_dir() and not root.is_relative_to(TEMPLATES):
            files.add(root, shown)
    own = workspace.environment_file(loaded.configuration.name)
    for path in list(files.shown):
        other = path.parent == own.parent and path != own
        if other or path.is_relative_to(workspace.state_dir):
            del files.shown[path]
    return files


def _below(root: Path) -> Iterator[str]:
    ignored = bundle.ignored(root)
    for name in _listed(root) or _walked(root, ignored):
        folders = name.split("/")[:-1]
        if any(part in _OTHERS or part in bundle.ALWAYS_IGNORED for part in folders):
            continue
        if not ignored(name, False) and _is_file(root / name):
            yield name


def _listed(root: Path) -> list[str]:
    """What git knows or would add below a folder; nothing where it ignores all of it."""
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        return []
    words = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    try:
        return git.run("-C", str(root), *words).split("\0")[:-1]
    except git.GitError:
        return []


def _walked(root: Path, ignored: Callable[[str, bool], bool]) -> Iterator[str]:
    for here, folders, names in os.walk(root):
        relative = os.path.relpath(here, root)
        prefix = "" if relative == "." else f"{relative}/"
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in _OTHERS and not ignored(prefix + name, True)
        )
        for name in sorted(names):
            yield prefix + name


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
