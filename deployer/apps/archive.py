"""Unpacking archives that nobody vouches for: nothing leaves the folder, nothing fills the disk.

tarfile's own filter "data" is not enough: until Python 3.11.13 links led out of it
(CVE-2025-4517), and it minds neither how much there is nor what a link through a link means.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import tarfile
import zlib
from typing import TYPE_CHECKING, Protocol, Self, cast

from deployer.environment.toml import file_error
from deployer.errors import FileError, Finding

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import IO

MAX_BYTES = 2_000_000_000
MAX_ENTRIES = 200_000
MAX_HEADER = 1 << 20  # bytes of a long name or of a pax header, which are read into memory
BLOCK = 1 << 20
_HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_KINDS = {
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end."""


class _Damaged(Exception):
    """The archive is not what it should be."""


class _Header(tarfile.TarInfo):
    """A header that is refused where tarfile would stop without a word, or take what it gets."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            found = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError:
            if buf.strip(b"\0"):
                raise _Damaged("a header in it is damaged") from None
            raise  # the end
        if found.size < 0:
            raise _Damaged("a size in it is negative")
        if found.type in _HEADERS and found.size > MAX_HEADER:
            raise _Damaged("a header in it is far too long")
        return found


class _Limited:
    """A stream that ends with an error where it goes on for too long."""

    def __init__(self, stream: Readable, check: Callable[[], None]) -> None:
        self._stream = stream
        self._check = check
        # each entry has a header, a rest of a block, and a long name perhaps
        self._left = MAX_BYTES + MAX_ENTRIES * 2048

    def read(self, size: int) -> bytes:
        self._check()
        content = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise _Damaged(f"it holds more than {MAX_BYTES // 10**9} GB")
        return content


def unpack_file(file: IO[bytes], target: Path, shown: str, check: Callable[[], None]) -> None:
    """Unpack a `.tar.gz`; see `unpack`."""
    with gzip.GzipFile(fileobj=file, mode="rb") as stream:
        unpack(stream, target, shown, check)


def unpack(
    stream: Readable, target: Path, shown: str, check: Callable[[], None] = lambda: None
) -> None:
    """Unpack a tar into the empty folder `target`; complaints call it `shown`.

    Only files, folders and links that stay inside are taken, of modes only the executable bit.
    Raises `FileError` naming the member, and whatever `check` raises, which is called often.
    """
    limited = _Limited(stream, check)
    try:
        with tarfile.open(
            fileobj=cast("IO[bytes]", limited), mode="r|", tarinfo=_Header
        ) as archive:
            _members(archive, target, shown)
        while limited.read(BLOCK):  # the check sum of the compressed file is at its end
            pass
    except (
        *(_Damaged, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError),
        *(UnicodeError, ValueError, OverflowError, RecursionError),
    ) as problem:
        reason = "it is no .tar.gz" if isinstance(problem, gzip.BadGzipFile) else str(problem)
        raise file_error(
            [Finding("archive", f"{shown} can't be unpacked: {reason or 'it is damaged'}")]
        ) from None


def _members(archive: tarfile.TarFile, target: Path, shown: str) -> None:
    entries = size = 0
    while info := archive.next():
        archive.members = []  # type: ignore[attr-defined]  # or it would keep them all
        entries += 1
        place = _Place(target, info.name, shown)
        if entries > MAX_ENTRIES:
            raise place.refused(f"is one of more than {MAX_ENTRIES} entries")
        if not place.parts:
            continue  # the folder itself
        if info.isdir():
            place.make_folder()
        elif info.issym():
            place.clear()
            place.link(info.linkname)
        elif info.islnk():
            size += place.copy(info.linkname)
        elif info.isreg() and not info.issparse():
            size += info.size
            if size <= MAX_BYTES:
                content = archive.extractfile(info)
                assert content
                place.write(content, info.size, bool(info.mode & stat.S_IXUSR))
        else:
            kind = _KINDS.get(info.type, "neither a file, a folder nor a link")
            raise place.refused(f"is {kind}")
        if size > MAX_BYTES:
            raise place.refused(f"makes it more than {MAX_BYTES // 10**9} GB")


class _Place:
    """Where a member goes: each folder on the way is a real one."""

    def __init__(self, target: Path, name: str, shown: str) -> None:
        self.name = name
        self._shown = shown
        if name.startswith("/"):
            raise self.refused("has an absolute path")
        self.parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in self.parts:
            raise self.refused("has '..' in its path")
        if "\0" in name:
            raise self.refused("has a NUL in its path")
        self.path = target.joinpath(*self.parts)
        self._target = target

    def refused(self, what: str) -> FileError:
        name = self.name if len(self.name) <= 200 else self.name[:197] + "..."
        return file_error([Finding("archive", f"{self._shown}: the member {name!r} {what}")])

    def _kind(self, path: Path) -> int:
        """The type of what is there, 0 for nothing."""
        try:
            return stat.S_IFMT(path.lstat().st_mode)
        except FileNotFoundError:
            return 0
        except OSError as problem:
            raise self.refused(f"has an impossible path: {problem.strerror}") from None

    def _make_folders(self, parts: list[str]) -> None:
        path = self._target
        for part in parts:
            path /= part
            kind = self._kind(path)
            if kind == 0:
                path.mkdir(0o755)
            elif kind == stat.S_IFLNK:
                raise self.refused("lies behind a link")
            elif kind != stat.S_IFDIR:
                raise self.refused("lies in what is no folder")

    def make_folder(self) -> None:
        self._make_folders(self.parts)

    def clear(self) -> None:
        """Make way: a later member of the same path takes the place of the earlier one."""
        self._make_folders(self.parts[:-1])
        kind = self._kind(self.path)
        if kind == stat.S_IFDIR:
            raise self.refused("is a folder too")
        if kind:
            self.path.unlink()

    def link(self, to: str) -> None:
        # `..` goes up from real folders alone, and from no link: so no chain of links leads out
        steps = [part for part in to.split("/") if part not in ("", ".")]
        up = next((i for i, part in enumerate(steps) if part != ".."), len(steps))
        if not to or to.startswith("/") or up > len(self.parts) - 1 or ".." in steps[up:]:
            raise self.refused(f"is a link to outside: {to!r}")
        self.path.symlink_to(to)

    def write(self, content: IO[bytes], size: int, executable: bool) -> None:
        self.clear()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(self.path, flags, 0o600), "wb") as out:
            os.fchmod(out.fileno(), 0o755 if executable else 0o644)
            shutil.copyfileobj(content, out, BLOCK)
            if out.tell() != size:
                raise _Damaged("it ends too early")

    def copy(self, to: str) -> int:
        """Make a hard link to an earlier member; returns the size of that."""
        try:
            source = _Place(self._target, to, self._shown)
            if source._behind_link() or source._kind(source.path) != stat.S_IFREG:
                raise source.refused("is no file")
        except FileError:
            raise self.refused(f"is a hard link to no file of the archive: {to!r}") from None
        if source.path == self.path:
            return 0
        self.clear()
        found = source.path.stat()
        if found.st_size <= MAX_BYTES:
            self.path.hardlink_to(source.path)
        return found.st_size

    def _behind_link(self) -> bool:
        path = self._target
        for part in self.parts[:-1]:
            path /= part
            if self._kind(path) != stat.S_IFDIR:
                return True
        return not self.parts


def root(folder: Path) -> Path:
    """The app's folder in what was unpacked: a single folder at the top is no part of it."""
    if (folder / "app.toml").exists():
        return folder
    found = list(folder.iterdir())
    if len(found) == 1 and found[0].is_dir() and not found[0].is_symlink():
        inner = found[0] / "app.toml"
        return found[0] if inner.exists() else folder
    return folder
