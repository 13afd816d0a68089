"""Releases on a host: put in place, switched to, found, removed."""

import base64
import io
import json
import os

from . import place, tree
from .problem import HostProblem


def folder(spec, number):
    """The folder of a release."""
    return place.path(spec, "releases", str(number))


def manifest(spec, number):
    """What a release was made with, as it is kept with it; None if it can't be read."""
    try:
        with open(os.path.join(folder(spec, number), ".deployer", "release.json")) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def current(spec):
    """The number that `current` points at; None where there is none."""
    try:
        target = os.readlink(place.path(spec, "current"))
    except OSError:
        return None
    name = os.path.basename(target)
    return int(name) if name.isdigit() else None


def numbers(spec):
    """Every release there is, ascending."""
    try:
        names = os.listdir(place.path(spec, "releases"))
    except OSError:
        return []
    return sorted(int(name) for name in names if name.isdigit())


def problem(spec, number):
    """Why a release is not what was released, in words; None if it is."""
    found = manifest(spec, number)
    if found is None:
        return "release %s has no manifest" % number
    return tree.verify(folder(spec, number), found["files"])


def install(spec, dry=False):
    """Unpack, verify and switch to the release of `spec`; return whether anything changed."""
    place.check_owner(spec)
    release = spec["release"]
    number = release["number"]
    with place.locked(spec):
        known = manifest(spec, number)
        whole = known == release and problem(spec, number) is None
        if whole and current(spec) == number:
            return False
        if dry:
            return True
        for name in os.listdir(place.path(spec, "releases")):
            if name.startswith(".new-"):
                place.discard(place.path(spec, "releases", name))
        if not whole:
            _unpack(spec, release)
        _switch(spec, number)
    return True


def _switch(spec, number):
    link = place.path(spec, ".current-new")
    place.discard(link)
    os.symlink("releases/%d" % number, link)
    os.rename(link, place.path(spec, "current"))


def withdraw(spec):
    """Remove a release; `current` goes back to `spec["before"]`. Returns whether it was there."""
    place.check_owner(spec)
    number, before = spec["number"], spec["before"]
    with place.locked(spec):
        if current(spec) == number:
            if before is None:
                place.discard(place.path(spec, "current"))
            else:
                _switch(spec, before)
        there = os.path.isdir(folder(spec, number))
        place.discard(folder(spec, number))
    return there


def _unpack(spec, release):
    number = release["number"]
    new = place.path(spec, "releases", ".new-%d" % number)
    os.mkdir(new)
    os.chmod(new, 0o755)
    try:
        tree.unpack(spec["bundle"], new)
        for file in spec["rendered"]:
            full = os.path.join(new, tree.inner(file["path"]))
            os.makedirs(os.path.dirname(full), exist_ok=True)
            place.discard(full)
            content = base64.b64decode(file["content"])
            tree.write_new(full, io.BytesIO(content), file["mode"])
        os.mkdir(os.path.join(new, ".deployer"))
        place.write(os.path.join(new, ".deployer", "release.json"), json.dumps(release))
        wrong = tree.verify(new, release["files"])
        if wrong:
            raise HostProblem("RELEASE_BROKEN", "the bundle arrived damaged: %s" % wrong)
        place.discard(folder(spec, number))
        os.rename(new, folder(spec, number))
    except BaseException:
        place.discard(new)
        raise


def clear(spec):
    """Remove every release, and the data in shared/ where `spec["data"]` says so."""
    place.check_owner(spec, missing_ok=True)
    changed = False
    for name in ("current", "releases", *(("shared",) if spec.get("data") else ())):
        target = place.path(spec, name)
        if os.path.islink(target) or (os.path.isdir(target) and os.listdir(target)):
            place.discard(target)
            changed = True
            if name != "current":
                os.mkdir(target)
                os.chmod(target, 0o755)
    return changed
