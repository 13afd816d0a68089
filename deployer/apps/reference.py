"""What `app` in an environment file may be: a name, a folder, an archive, a git repository."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deployer.apps.manifest import inside
from deployer.environment.toml import file_error
from deployer.errors import Finding
from deployer.paths import NAME
from deployer.tools import git

BUILT_IN, FOLDER, ARCHIVE, GIT = "built-in", "folder", "archive", "git"
ARCHIVES = (".tar.gz", ".tgz")
SCHEMES = ("https", "ssh", "file")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(://|::)")
_SCP = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9._-]*@(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*):[^-].*"
)
# git-check-ref-format(1)
_NO_REF = re.compile(r"^[-/]|[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|[./]$|\.lock$")


@dataclass(frozen=True)
class Repository:
    """A git repository, and what of it: `ref` is None for its default branch."""

    text: str
    """As it was written."""
    place: str
    """A URL, or an absolute path."""
    ref: str | None
    folder: str
    """The app's folder inside, empty for all of it."""


@dataclass(frozen=True)
class Source:
    """Where an app came from."""

    kind: str
    reference: str
    commit: str | None = None
    folder: Path | None = None
    """The user's own folder, which may be in a work tree."""

    def to_record(self) -> dict[str, Any]:
        """As it is kept with a release: `commit` and `dirty` are None where git has no part."""
        commit, dirty = self.commit, False if self.commit else None
        if self.folder is not None and (found := git.state_of(self.folder)):
            commit, dirty = found
        return {"kind": self.kind, "reference": self.reference, "commit": commit, "dirty": dirty}


def is_remote(text: str) -> bool:
    """Whether this names a place by URL, and not a path."""
    return bool(_SCHEME.match(text) or _SCP.fullmatch(text))


def is_archive(text: str) -> bool:
    """Whether this is the path of an archive."""
    return text.endswith(ARCHIVES)


def repository(text: str, root: Path) -> Repository | None:
    """The git repository that `text` names, None if it names something else.

    A relative path is relative to `root`. Raises `FileError`.
    """
    remote = is_remote(text)
    if not remote and "#" not in text:
        return None
    place, _, rest = text.partition("#")
    ref, _, folder = rest.partition(":")
    if any(ord(letter) < 0x20 or letter == "\x7f" for letter in text):
        raise _refused(f"{text!r} has a control character in it")
    if remote:
        _check_place(place)
    if ref and _NO_REF.search(ref):
        raise _refused(f"{ref!r} can't be a branch, a tag or a commit")
    if folder:
        try:
            folder = inside(folder)
        except ValueError as problem:
            raise _refused(f"the folder {problem}") from None
    if not remote:
        place = str((root / place).resolve())
        if not Path(place).is_dir():
            raise _refused(f"there is no folder {place}")
    ref = "" if ref == "HEAD" else ref
    return Repository(text, place, ref or None, "" if folder == "." else folder)


def _check_place(place: str) -> None:
    """Refuse what runs programs, what can be changed on its way, and what holds a secret."""
    scheme = _SCHEME.match(place)
    if scheme is None:
        return
    if scheme[1] not in SCHEMES or scheme[2] != "://":
        raise _refused(
            f"an app doesn't come over {scheme[0]}",
            fix="a git repository is https://…, ssh://…, git@host:path, file://… or a path",
        )
    try:
        parts = urlsplit(place)
        host, secret = parts.hostname or "", parts.password is not None
        _ = parts.port
    except ValueError as problem:
        raise _refused(f"the URL of the app is malformed: {problem}") from None
    if secret or (scheme[1] == "https" and "@" in parts.netloc):
        raise _refused(
            "the URL of the app has a password or token in it, which would be recorded",
            fix="leave it out, and use SSH or one of git's credential helpers",
        )
    if scheme[1] != "file" and (not host or host[0] == "-" or parts.netloc[0] == "-"):
        raise _refused(f"the URL of the app {place!r} names no host")
    if is_archive(parts.path):
        raise _refused(
            "an archive is not fetched from a URL",
            fix="download it, and name the file; or name the git repository",
        )


def _refused(message: str, fix: str = "") -> Exception:
    return file_error([Finding("app-source", message, fix=fix)])


def from_here(text: str, root: Path) -> str:
    """What the command line names from here, as an environment file names it: from `root`."""
    if not text or NAME.fullmatch(text) or is_remote(text):
        return text
    if Path(text).is_dir():
        path, rest = text, ""
    else:
        path, mark, rest = text.partition("#")
        rest = mark + rest
    found = os.path.relpath(Path(path).expanduser().resolve(), root)
    return ("" if found.startswith("..") else "./") + found + rest
