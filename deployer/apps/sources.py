"""Apps out of git repositories and archives: fetched and unpacked below `.deployer/sources/`.

A clone is kept for each URL, and a folder for each commit and each archive. All of it is a cache:
whatever is missing or wrong there is made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.apps import archive, reference
from deployer.environment.toml import file_error, suggest
from deployer.errors import DeployerError, Finding
from deployer.tools import git
from deployer.tools.git import GitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import BufferedReader

    from deployer.apps.reference import Repository, Source
    from deployer.paths import Workspace

KEPT = 5
"""So many clones, and so many unpacked folders, the most recently used."""
LEFT_BEHIND = 86_400.0  # seconds after which nobody unpacks there any more
_UNPACKING = ".new-"
_FULL = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT = re.compile(r"[0-9a-f]{7,63}")
_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_HEADS_AND_TAGS = ("refs/heads", "refs/tags")
_DEFAULT = "refs/deployer/default"
_LARGE_FILE = b"version https://git-lfs.github.com/spec/"
# the same content as a checkout has, whatever a repository wants left out of its archives
_ATTRIBUTES = "* -export-ignore -export-subst -filter\n"


class Fetch(Enum):
    """When a repository is asked what its branches and tags are."""

    ALWAYS = "always"
    MISSING = "missing"
    """Only where what is wanted was never fetched."""
    NEVER = "never"


@dataclass(frozen=True)
class Found:
    """An app's folder, its source, and what keeps the folder from being removed."""

    folder: Path
    source: Source
    hold: object = None


class _Hold:
    """A lock on a folder, shared or not, for as long as this lives. The kernel frees it."""

    def __init__(self, folder: Path, kind: int) -> None:
        self._fd: int | None = None
        self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._fd, kind)
            here, there = os.fstat(self._fd), folder.stat()
            if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
                raise FileNotFoundError(folder)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    __del__ = close


class Sources:
    """The sources of one operation: what a branch is at is settled once, and stays."""

    def __init__(
        self,
        workspace: Workspace,
        fetch: Fetch = Fetch.NEVER,
        *,
        more: Mapping[str, str] | None = None,
        check: Callable[[], None] = lambda: None,
        told: Callable[[str, str, float], None] = lambda *_: None,
    ) -> None:
        """`more` goes into git's environment, `check` raises if all shall end.

        `told` hears (what, `ok` or `waiting`, seconds).
        """
        self.folder = workspace.state_dir / "sources"
        self._root = workspace.root
        self._fetch = fetch
        self._more = more
        self._check = check
        self._told = told
        self._known: dict[str, Found] = {}

    def find(self, text: str) -> Found | None:
        """The app in the repository or archive that `text` names; None if it names a folder.

        Raises `FileError`.
        """
        if text not in self._known:
            repository = reference.repository(text, self._root)
            if repository:
                self._known[text] = self._from_git(repository)
            elif reference.is_archive(text):
                self._known[text] = self._from_archive(text)
            else:
                return None
        return self._known[text]

    # ---- archives

    def _from_archive(self, text: str) -> Found:
        with _opened((self._root / text).resolve(), text) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            folder, hold = self._unpacked(
                _key(digest), lambda target: archive.unpack_file(file, target, text, self._check)
            )
        source = reference.Source(reference.ARCHIVE, text)
        return Found(archive.root(folder), source, hold)

    # ---- git

    def _from_git(self, wanted: Repository) -> Found:
        if not git.installed():
            raise _refused(
                "git is not installed, and the app is in a git repository", fix="install git"
            )
        clone = self.folder / f"{hashlib.sha256(wanted.place.encode()).hexdigest()}.git"
        commit = self._commit(clone, wanted)
        key = _key(wanted.place, commit, wanted.folder)
        try:
            folder, hold = self._unpacked(
                key, lambda to: self._check_out(clone, commit, wanted, to)
            )
        except GitError as problem:
            if self._fetch is Fetch.NEVER:
                raise _unreadable(wanted, problem) from None
            # power failed while it was written, perhaps
            self._clone_anew(clone, wanted)
            folder, hold = self._unpacked(
                key, lambda to: self._check_out(clone, commit, wanted, to)
            )
        _use(clone)
        source = reference.Source(reference.GIT, wanted.text, commit)
        return Found(folder / wanted.folder, source, hold)

    def _commit(self, clone: Path, wanted: Repository) -> str:
        known = self._resolve(clone, wanted.ref)
        if self._fetch is Fetch.NEVER:
            if known is None:
                raise _refused(
                    f"{wanted.text} was not fetched yet", fix="deploy and validate fetch it"
                )
            return known
        if known and (self._fetch is Fetch.MISSING or _FULL.fullmatch(wanted.ref or "")):
            return known
        began = time.monotonic()
        self._fetch_into(clone, wanted)
        found = self._resolve(clone, wanted.ref)
        if found is None:
            raise self._unknown(clone, wanted)
        self._told(f"{wanted.text} is at {found[:12]}", "ok", time.monotonic() - began)
        return found

    def _resolve(self, clone: Path, ref: str | None) -> str | None:
        """The commit of a branch, else of a tag, else the one that is named, as it was fetched."""
        if not clone.is_dir():
            return None
        if ref is None:
            names = [_DEFAULT]
        elif _FULL.fullmatch(ref):
            names = [ref]  # and no branch may take its name
        else:
            names = [f"refs/{kind}/{ref}" for kind in ("heads", "tags")]
            names += [ref] if ref.startswith("refs/") or _SHORT.fullmatch(ref) else []
        for name in names:
            with suppress(GitError):
                return self._git(clone, "rev-parse", "--verify", f"{name}^{{commit}}").strip()
        return None

    def _unknown(self, clone: Path, wanted: Repository) -> DeployerError:
        names = self._git(clone, "for-each-ref", "--format=%(refname:lstrip=2)", *_HEADS_AND_TAGS)
        return _refused(
            f"{wanted.place} has no branch, tag or commit {wanted.ref!r}",
            fix=suggest(wanted.ref or "", names.split()),
        )

    def _fetch_into(self, clone: Path, wanted: Repository) -> None:
        there = (clone / "HEAD").exists()
        try:
            self._fetch_once(clone, wanted)
        except GitError as problem:
            # is it the repository, or what a killed git has left in the clone?
            if not there or not self._answers(wanted):
                raise _unreadable(wanted, problem) from None
            self._clone_anew(clone, wanted)

    def _answers(self, wanted: Repository) -> bool:
        try:
            # from nobody's work tree, whose configuration would count
            self._ask("-C", "/", "ls-remote", "--", wanted.place, "HEAD")
        except GitError:
            return False
        return True

    def _clone_anew(self, clone: Path, wanted: Repository) -> None:
        shutil.rmtree(clone, ignore_errors=True)
        try:
            self._fetch_once(clone, wanted)
        except GitError as problem:
            raise _unreadable(wanted, problem) from None

    def _fetch_once(self, clone: Path, wanted: Repository) -> None:
        private(self.folder)
        clone.mkdir(mode=0o700, exist_ok=True)
        fetch = ["--git-dir", str(clone), "fetch", "--quiet", "--prune", "--force", "--no-tags"]
        # a CI job's own checkout has one commit, and that is enough
        fetch += ["--update-shallow", "--", wanted.place]
        with self._alone(clone):
            self._git(clone, "init", "--quiet", "--bare", "--template=")
            (clone / "info").mkdir(exist_ok=True)
            (clone / "info" / "attributes").write_text(_ATTRIBUTES)
            default = () if wanted.ref else (f"+HEAD:{_DEFAULT}",)
            self._ask(*fetch, *_REFS, *default)
            if _FULL.fullmatch(wanted.ref or "") and self._resolve(clone, wanted.ref) is None:
                # on no branch any more; a server may give it all the same
                with suppress(GitError):
                    self._ask(*fetch, f"+{wanted.ref}:refs/deployer/{wanted.ref}")

    @contextmanager
    def _alone(self, clone: Path) -> Iterator[None]:
        """One fetch at a time into a clone; the others wait."""
        while True:
            try:
                hold = _Hold(clone, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                self._check()
                time.sleep(git.POLL)
            except FileNotFoundError:
                clone.mkdir(mode=0o700, exist_ok=True)
        try:
            yield
        finally:
            hold.close()

    def _git(self, clone: Path, *words: str) -> str:
        return git.run("--git-dir", str(clone), *words, more=self._more, check=self._check)

    def _ask(self, *words: str) -> str:
        """Run a git that asks the repository, which may take its time."""
        return git.run(
            *words,
            more=self._more,
            timeout=git.FETCH_TIMEOUT,
            check=self._check,
            waiting=lambda seconds: self._told("still waiting for git", "waiting", seconds),
        )

    def _check_out(self, clone: Path, commit: str, wanted: Repository, target: Path) -> None:
        """Unpack what `git archive` says of a commit: no hook runs, no `.git` is left."""
        folder = wanted.folder
        self._git(clone, "cat-file", "-e", f"{commit}^{{tree}}")
        if folder and not self._git(clone, "ls-tree", "-d", "-z", commit, "--", folder):
            known = self._git(clone, "ls-tree", "-d", "-r", "-z", "--name-only", commit)
            raise _refused(
                f"{wanted.place} has no folder {folder!r} at {commit[:12]}",
                fix=suggest(folder, known.split("\0")[:-1]),
            )
        words = ["--git-dir", str(clone), "archive", "--format=tar", commit]
        words += ["--", folder] if folder else []
        with git.output(*words, more=self._more) as stream:
            archive.unpack(stream, target, wanted.text, self._check)
        _refuse_large_files(target, wanted)

    # ---- folders

    def _unpacked(self, key: str, fill: Callable[[Path], None]) -> tuple[Path, object]:
        """The folder of `key`, filled if it isn't there; locked against being pruned."""
        folder = self.folder / key
        while True:
            try:
                hold = _Hold(folder, fcntl.LOCK_SH)
            except FileNotFoundError:
                self._fill(folder, fill)
                continue
            _use(folder)
            return folder, hold

    def _fill(self, folder: Path, fill: Callable[[Path], None]) -> None:
        private(self.folder)
        fresh = Path(tempfile.mkdtemp(prefix=_UNPACKING, dir=self.folder))
        try:
            fill(fresh)
            fresh.rename(folder)
        except OSError:
            if not folder.is_dir():  # else somebody else was quicker
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        prune(self.folder)


def _opened(path: Path, shown: str) -> BufferedReader:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise _refused(f"{shown} is no file")
        return path.open("rb")
    except FileNotFoundError:
        raise _refused(f"there is no file {path}") from None
    except OSError as problem:
        raise _refused(f"{shown} can't be read: {problem.strerror}") from None


def private(folder: Path) -> None:
    """Make the folder of all sources: only this user can look into it, and git leaves it alone."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")


def prune(folder: Path) -> None:
    """Keep the `KEPT` most recently used clones, and as many unpacked folders, and those in use."""
    there = (path for path in folder.iterdir() if path.is_dir())
    found = sorted(there, key=_used, reverse=True)
    unpacking = [path for path in found if path.name.startswith(_UNPACKING)]
    clones = [path for path in found if path.suffix == ".git"]
    others = [path for path in found if path not in unpacking and path not in clones]
    old = [path for path in unpacking if time.time() - _used(path) > LEFT_BEHIND]
    for path in (*clones[KEPT:], *others[KEPT:], *old):
        try:
            hold = _Hold(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # in use, or gone
        with suppress(OSError):
            gone = path.with_name(f"{_UNPACKING}{path.name}")
            path.rename(gone)  # at once: nobody ever sees a part of it
            shutil.rmtree(gone, ignore_errors=True)
        hold.close()


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _use(path: Path) -> None:
    with suppress(OSError):
        os.utime(path)


def _key(*parts: str) -> str:
    """The name of an unpacked folder.

    Not that of another boot: where power fails, a folder may be there and its files empty.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return hashlib.sha256("\0".join((*parts, boot)).encode()).hexdigest()


def _refuse_large_files(folder: Path, wanted: Repository) -> None:
    """What git-lfs keeps elsewhere is not there: better no release than one without it."""
    for here, _, files in os.walk(folder):
        for name in files:
            path = Path(here, name)
            if path.is_symlink() or path.stat().st_size > 1024:
                continue
            with path.open("rb") as file:
                if file.read(len(_LARGE_FILE)) == _LARGE_FILE:
                    shown = path.relative_to(folder)
                    raise _refused(f"{wanted.text}: {shown} is kept by git-lfs, which isn't used")


def _unreadable(wanted: Repository, problem: GitError) -> DeployerError:
    return _refused(
        f"the repository {wanted.place} can't be read: {problem}",
        fix=f"try: git ls-remote {wanted.place}",
    )


def _refused(message: str, fix: str = "") -> DeployerError:
    return file_error([Finding("app-source", message, fix=fix)])
