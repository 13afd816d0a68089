"""Release folders: unpacked without following links, verified file by file."""

import hashlib
import os
import posixpath
import stat
import tarfile

from .problem import HostProblem

CHUNK = 1 << 20


def _broken(message):
    return HostProblem("RELEASE_BROKEN", message, "Run release again.")


def unpack(bundle, target):
    """Unpack a tar into the empty folder `target`: plain files, folders and inner links only."""
    with tarfile.open(bundle) as archive:
        for member in archive:
            place = inner(member.name)
            full = os.path.join(target, place)
            _parents(target, place)
            if member.isdir():
                os.makedirs(full, exist_ok=True)
            elif member.isfile():
                with archive.extractfile(member) as source:
                    write_new(full, source, member.mode & 0o777)
            elif member.issym():
                inner(posixpath.join(posixpath.dirname(place), member.linkname), absolute=False)
                if member.linkname.startswith("/"):
                    raise _broken("the bundle has a link to outside: %s" % place)
                os.symlink(member.linkname, full)
            else:
                raise _broken("the bundle has something that is no file: %s" % place)


def inner(name, absolute=True):
    """`name` normalised, if it stays inside its folder."""
    clean = posixpath.normpath(name)
    if (absolute and clean.startswith("/")) or clean == ".." or clean.startswith("../"):
        raise _broken("the bundle has a path to outside: %s" % name)
    return clean


def _parents(target, place):
    folder = target
    for part in place.split("/")[:-1]:
        folder = os.path.join(folder, part)
        if os.path.islink(folder):
            raise _broken("the bundle has a path through a link: %s" % place)
        if not os.path.isdir(folder):
            os.mkdir(folder)
            os.chmod(folder, 0o755)


def write_new(path, source, mode):
    """Write the open file `source` to `path`, which must not exist."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(fd, "wb") as out:
        while True:
            block = source.read(CHUNK)
            if not block:
                break
            out.write(block)
    os.chmod(path, mode)


def verify(folder, files):
    """What differs between `folder` and `files`, {path: [mode, sha256] or ["link", target]}.

    Files that are there besides (caches of interpreters, say) are nobody's business. Returns the
    first difference in words, or None.
    """
    for name, (mode, digest) in sorted(files.items()):
        full = os.path.join(folder, name)
        try:
            found = os.lstat(full)
        except OSError:
            return "%s is missing" % name
        if mode == "link":
            if not stat.S_ISLNK(found.st_mode) or os.readlink(full) != digest:
                return "%s is not the link it was" % name
            continue
        if not stat.S_ISREG(found.st_mode):
            return "%s is not a file" % name
        if stat.S_IMODE(found.st_mode) != mode:
            return "%s has mode %o, not %o" % (name, stat.S_IMODE(found.st_mode), mode)
        if sha256(full) != digest:
            return "%s has another content" % name
    return None


def sha256(path):
    """The digest of a file, hexadecimal; empty if it can't be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(CHUNK), b""):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()
