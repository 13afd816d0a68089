"""Bundles: the content of an application's folder, the same bytes for the same content."""

from __future__ import annotations

import hashlib
import io
import json
import os
import posixpath
import stat
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.apps.manifest import within
from deployer.environment.toml import file_error
from deployer.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

IGNORE_FILE = ".deployerignore"
ALWAYS_IGNORED = frozenset({".git", ".deployer", "__pycache__", ".venv", IGNORE_FILE})


@dataclass(frozen=True)
class Entry:
    """One file or link: its path in the bundle, mode, and digest or link target."""

    path: str
    mode: int
    digest: str
    link: str | None = None


@dataclass(frozen=True)
class Bundle:
    """What would be released of a folder. `digest` names the content."""

    folder: Path
    entries: tuple[Entry, ...]
    digest: str

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(
            (self.folder / entry.path).stat().st_size
            for entry in self.entries
            if entry.link is None
        )

    def files(self) -> dict[str, list[object]]:
        """{path: [mode, sha256] or ["link", target]}, as hosts verify it."""
        return {
            e.path: ["link", e.link] if e.link is not None else [e.mode, e.digest]
            for e in self.entries
        }


def scan(folder: Path, shown: str, shared: Sequence[str] = ()) -> Bundle:
    """Read a folder, honouring `.deployerignore` (gitignore's syntax).

    Raises `FileError` naming every link to outside, everything that is no file, and every path
    of `shared` that something is in the way of.
    """
    entries, findings = [], []
    for path in sorted(_walk(folder, ignored(folder))):
        full = folder / path
        found = full.lstat()
        if stat.S_ISLNK(found.st_mode):
            target = str(full.readlink())
            if target.startswith("/") or _leaves(path, target):
                findings.append(
                    Finding(
                        "link",
                        f"{path} is a link to outside: {target}",
                        fix=f"copy the file, or name it in {IGNORE_FILE}",
                        file=f"{shown}/{path}",
                    )
                )
                continue
            entries.append(Entry(path, 0o777, "", target))
        elif stat.S_ISREG(found.st_mode):
            mode = 0o755 if found.st_mode & stat.S_IXUSR else 0o644
            try:
                digest = hashlib.sha256(full.read_bytes()).hexdigest()
            except OSError as problem:
                findings.append(
                    Finding("file", f"can't be read: {problem.strerror}", file=f"{shown}/{path}")
                )
                continue
            entries.append(Entry(path, mode, digest))
        else:
            findings.append(
                Finding(
                    "file",
                    "is neither a file, a folder nor a link",
                    fix=f"name it in {IGNORE_FILE}",
                    file=f"{shown}/{path}",
                )
            )
    findings += _in_the_way(entries, shown, shared)
    if findings:
        raise file_error(findings)
    lines = [[e.path, e.mode, e.digest, e.link] for e in entries]
    return Bundle(folder, tuple(entries), hashlib.sha256(json.dumps(lines).encode()).hexdigest())


def _in_the_way(entries: list[Entry], shown: str, shared: Sequence[str]) -> Iterator[Finding]:
    for path in shared:
        found = [e.path for e in entries if within(e.path, path) or within(path, e.path)]
        if found:
            count = f"{len(found)} files, such as {found[0]}" if len(found) > 1 else found[0]
            yield Finding(
                "shared",
                f"shared {path!r} would hide what the application has there: {count}",
                fix=f"name it in {IGNORE_FILE}, or take it out of shared",
                file=f"{shown}/{found[0]}",
            )


def write(bundle: Bundle, target: Path) -> None:
    """Write the bundle as a tar: sorted, no times, owners or names. 0600.

    Raises `FileError` if the folder has changed since it was scanned.
    """
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as out, tarfile.open(fileobj=out, mode="w") as archive:
        for entry in bundle.entries:
            info = tarfile.TarInfo(entry.path)
            info.mode = entry.mode
            if entry.link is not None:
                info.type, info.linkname = tarfile.SYMTYPE, entry.link
                archive.addfile(info)
                continue
            content = (bundle.folder / entry.path).read_bytes()
            if hashlib.sha256(content).hexdigest() != entry.digest:
                raise file_error(
                    [Finding("changed", "changed while it was released", file=entry.path)],
                    hint="Run the command again when nothing writes there.",
                )
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def is_written(bundle: Bundle, target: Path) -> bool:
    """Whether `target` holds this bundle, whole."""
    try:
        with tarfile.open(target) as archive:
            found = [
                Entry(info.name, info.mode, "", info.linkname)
                if info.issym()
                else Entry(info.name, info.mode, _digest(archive, info))
                for info in archive
            ]
    except (OSError, tarfile.TarError):
        return False
    return tuple(found) == bundle.entries


def _digest(archive: tarfile.TarFile, info: tarfile.TarInfo) -> str:
    content = archive.extractfile(info)
    return hashlib.sha256(content.read()).hexdigest() if content else ""


def _walk(folder: Path, ignored: Callable[[str, bool], bool]) -> Iterator[str]:
    def refuse(problem: OSError) -> None:
        raise file_error(
            [Finding("file", f"can't be read: {problem.strerror}", file=str(problem.filename))]
        )

    for here, folders, files in os.walk(folder, onerror=refuse):
        base = os.path.relpath(here, folder)
        prefix = "" if base == "." else f"{base}/"
        links = [f for f in folders if os.path.islink(os.path.join(here, f))]  # noqa: PTH114, PTH118
        folders[:] = [f for f in folders if f not in links and not ignored(prefix + f, True)]
        for name in (*files, *links):
            if not ignored(prefix + name, False):
                yield prefix + name


def ignored(folder: Path) -> Callable[[str, bool], bool]:
    """What tells of a path below `folder`, and whether it is a folder, if it is left out.

    Raises `FileError` where the `.deployerignore` can't be read.
    """
    path = folder / IGNORE_FILE
    rules = None
    if path.is_file():
        from pathspec import GitIgnoreSpec

        try:
            rules = GitIgnoreSpec.from_lines(path.read_text(encoding="utf-8").splitlines())
        except (UnicodeDecodeError, ValueError) as problem:
            raise file_error(
                [Finding("ignore", f"can't be read: {problem}", file=str(path))]
            ) from None

    def judge(name: str, is_folder: bool) -> bool:
        if posixpath.basename(name) in ALWAYS_IGNORED or name.endswith(".pyc"):
            return True
        return rules is not None and rules.match_file(f"{name}/" if is_folder else name)

    return judge


def _leaves(path: str, target: str) -> bool:
    clean = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return clean == ".." or clean.startswith("../")
