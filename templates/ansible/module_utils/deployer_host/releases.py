"""Releases on a host: put in place, switched to, found, removed."""

import base64
import io
import json
import os

from . import place, procs, tree, users
from .problem import HostProblem

MANIFEST = "release.json"
TEXT, TEXTS = 16 * 1024, 256 * 1024  # bytes of one file, and of all, that are told for a diff
UNBUILT = "unbuilt.json"  # what is to be the manifest, until the last build command has succeeded


def folder(spec, number):
    """The folder of a release."""
    return place.path(spec, "releases", str(number))


def manifest(spec, number):
    """What a release was made with, as it is kept with it; None if it can't be read."""
    return _read(spec, number, MANIFEST)


def _read(spec, number, name):
    try:
        with open(os.path.join(folder(spec, number), ".deployer", name)) as file:
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


def current_services(spec):
    """(number, services) of the current release. Raises `HostProblem` if it is broken."""
    number = current(spec)
    if number is None:
        raise HostProblem("RELEASE_BROKEN", "there is no current release", "Run release first.")
    wrong = problem(spec, number)
    if wrong:
        raise HostProblem("RELEASE_BROKEN", "release %d: %s" % (number, wrong), "Run release.")
    return number, manifest(spec, number)["services"]


def install(spec):
    """Unpack, verify and switch to the release of `spec`; return whether anything changed."""
    place.check_owner(spec)
    release = spec["release"]
    number = release["number"]
    with place.locked(spec):
        known = manifest(spec, number)
        whole = known == release and problem(spec, number) is None
        if whole and (current(spec) == number or release.get("build")):
            return False
        _remove_leftovers(spec, number)
        if not whole:
            _unpack(spec, release)
        if not release.get("build"):
            _switch(spec, number)
            _prune(spec, {number, *spec["keep"]})
    return True


def compare(spec):
    """What `install` would change: the new release beside the current one. Changes nothing.

    Returns {changed, files, services}: the paths and the names that are `added`, `changed` or
    `removed`; and `texts`, what small files have now that would be others, by path. What is for
    the services' user alone is never told.
    """
    place.check_owner(spec, missing_ok=True)
    release, number = spec["release"], current(spec)
    known = (manifest(spec, number) if number is not None else None) or {}
    files = _differences(known.get("files", {}), release["files"])
    services = _differences(
        *({one["name"]: one for one in found.get("services", ())} for found in (known, release))
    )
    own = manifest(spec, release["number"])
    whole = own == release and problem(spec, release["number"]) is None
    there = whole and (number == release["number"] or bool(release.get("build")))
    texts, room = {}, TEXTS
    for name in files["changed"]:
        modes = known["files"][name][0], release["files"][name][0]
        if "link" not in modes and not any(is_private(mode) for mode in modes):
            text = _text(os.path.join(folder(spec, number), name), min(room, TEXT))
            if text is not None:
                texts[name] = text
                room -= len(text)
    return {"changed": not there, "files": files, "services": services, "texts": texts}


def _differences(old, new):
    return {
        "added": sorted(set(new) - set(old)),
        "changed": sorted(name for name in new if name in old and new[name] != old[name]),
        "removed": sorted(set(old) - set(new)),
    }


def _text(path, limit):
    """The text of a file, if it is a small one; else None."""
    try:
        with open(path, "rb") as file:
            found = file.read(limit + 1)
        return found.decode("utf-8") if len(found) <= limit and b"\0" not in found else None
    except (OSError, UnicodeDecodeError):
        return None


def unbuilt(spec, number):
    """What a release that is not built yet will have as its manifest; None if there is none."""
    return _read(spec, number, UNBUILT)


def seal(spec, release):
    """Give a release its manifest: from now on it is whole. Its files are those of the build."""
    own = os.path.join(folder(spec, release["number"]), ".deployer")
    place.discard(own)  # a build may have written there
    os.mkdir(own)
    place.write(os.path.join(own, MANIFEST), json.dumps(release))


def _remove_leftovers(spec, number):
    """Remove what was unpacked by half, and what was never built to its end."""
    for name in os.listdir(place.path(spec, "releases")):
        if name.startswith(".new-"):
            place.discard(place.path(spec, "releases", name))
    broken = {n for n in numbers(spec) if manifest(spec, n) is None} - {number, current(spec)}
    for other in broken - _used(spec) if broken else ():
        place.discard(folder(spec, other))


def _used(spec):
    """The releases that something runs from."""
    found = {seen.get(procs.RELEASE_VARIABLE, "") for _, seen in procs.of_environment(spec["uuid"])}
    return {int(number) for number in found if number.isdigit()}


def _prune(spec, keep):
    """Remove the releases that nobody will go back to, and that nothing runs from."""
    keep = keep | _used(spec)
    for number in numbers(spec):
        if number not in keep:
            place.discard(folder(spec, number))


def switch(spec):
    """Point `current` at a release that is there, if it is whole; return whether it was not.

    With `spec["keep"]`, those which need not stay are removed then.
    """
    place.check_owner(spec)
    number = spec["number"]
    with place.locked(spec):
        wrong = problem(spec, number)
        if wrong:
            raise HostProblem("RELEASE_BROKEN", "release %d: %s" % (number, wrong))
        changed = current(spec) != number
        if changed:
            _switch(spec, number)
        if "keep" in spec:
            _prune(spec, {number, *spec["keep"]})
    return changed


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
        for name in release.get("shared", ()):
            _share(spec, new, name, release["files"][name][1])
        os.mkdir(os.path.join(new, ".deployer"))
        kept = UNBUILT if release.get("build") else MANIFEST
        place.write(os.path.join(new, ".deployer", kept), json.dumps(release))
        wrong = tree.verify(new, release["files"])
        if wrong:
            raise HostProblem("RELEASE_BROKEN", "the bundle arrived damaged: %s" % wrong)
        _hand_over(spec, new, release["files"])
        place.discard(folder(spec, number))
        os.rename(new, folder(spec, number))
    except BaseException:
        place.discard(new)
        raise


def _share(spec, new, name, target):
    """Link a folder that outlives releases into one, at the same path; make it where it isn't."""
    full = place.path(spec, place.SHARED, tree.inner(name))
    with users.acting(spec):  # the user may have put links there that root must not follow
        try:
            os.makedirs(full, exist_ok=True)
        except FileExistsError:
            raise HostProblem(
                "HOST_FAILED",
                "%s is no folder" % full,
                "Move it away: it is where the application's shared folder is kept.",
            )
    link = os.path.join(new, tree.inner(name))
    os.makedirs(os.path.dirname(link), exist_ok=True)
    os.symlink(target, link)


def _hand_over(spec, new, files):
    """Give what others may not read to the services' user: it is for them."""
    ids = users.ids(spec)
    for name, (mode, _) in files.items() if ids else ():
        if is_private(mode):
            os.chown(os.path.join(new, name), *ids)


def is_private(mode):
    """Whether a file of a release with this mode is for the services' user alone."""
    return isinstance(mode, int) and not mode & 0o004


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
                place.make(spec, name, users.ids(spec) if users.exists(spec) else None)
    return changed
