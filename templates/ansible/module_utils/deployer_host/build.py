"""A release's build commands: run in its own folder, before it may become current."""

import os
import stat
import time

from . import commands, place, releases, tree, users
from .problem import HostProblem

HINTS = {
    "COMMAND_FAILED": "Mend the command or what it needs.",
    "TIMEOUT": "If it only needs longer, raise its timeout in app.toml.",
}


def run(spec, say, check):
    """Build the release `spec["number"]`, if that was not done; return whether it was to do.

    `say` is given what is to be told of it: {title, outcome} and maybe {seconds}; `check` is that
    of `commands.run`. Whatever goes wrong, the release is removed.
    """
    place.check_owner(spec)
    number = spec["number"]
    with place.locked(spec):
        release = releases.unbuilt(spec, number)
        if release is None:
            wrong = releases.problem(spec, number)
            if wrong:
                raise HostProblem("RELEASE_BROKEN", "release %d: %s" % (number, wrong))
            return False
        folder = releases.folder(spec, number)
        ids = users.ids(spec) if os.geteuid() == 0 else None
        try:
            if ids:
                _give(folder, ids)
            for command in release["build"]:
                _perform(spec, release, command, say, check)
            if ids:
                _take_back(folder, release["files"], ids)
            os.sync()  # nobody verifies later what was built: it must outlast a power loss
            releases.seal(spec, release)
        except BaseException:
            place.discard(folder)
            raise
    return True


def _perform(spec, release, command, say, check):
    """Run one command to its good end; raise `HostProblem` if it has another one."""
    name, folder = "build " + command["name"], releases.folder(spec, release["number"])
    say({"title": command["name"], "outcome": "started"})
    began = time.monotonic()
    last = commands.run(
        spec,
        command["command"],
        folder,
        dict(command["environment"], DEPLOYER_RELEASE=str(release["number"])),
        command["timeout"],
        lambda line: say({"title": line, "outcome": "output"}),
        check=check,
        name=name,
        hints=HINTS,
    )
    wrong = tree.verify(folder, release["files"])
    if wrong:
        raise HostProblem(
            "COMMAND_FAILED",
            "%s changed what was released: %s" % (name, wrong),
            "A build may add files, but not change or remove those of the application: let "
            "it write elsewhere, or name the file in .deployerignore.",
            last,
        )
    seconds = round(time.monotonic() - began, 3)
    say({"title": "%s is built" % command["name"], "outcome": "changed", "seconds": seconds})


def _give(folder, ids):
    """Let the user write in every folder of the release, but not to the files that are there."""
    own = os.path.join(folder, ".deployer")
    for here, _, _, fd in os.fwalk(folder):
        if here != own:
            os.fchown(fd, *ids)


def _take_back(folder, files, ids):
    """Make everything that the user has there root's; what the user could read, its group can.

    From the top down: below a folder that is root's already, nothing can be exchanged by the user.
    """
    uid, gid = ids
    for here, _, names, fd in os.fwalk(folder):
        os.fchown(fd, 0, gid)
        os.fchmod(fd, _for_group(os.fstat(fd).st_mode))
        for name in names:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            mode = files.get(os.path.relpath(os.path.join(here, name), folder), [None])[0]
            if found.st_uid != uid or releases.is_private(mode):
                continue
            os.chown(name, 0, gid, dir_fd=fd, follow_symlinks=False)
            if mode is None and stat.S_ISREG(found.st_mode):
                os.chmod(name, _for_group(found.st_mode), dir_fd=fd)


def _for_group(mode):
    """A mode that lets the group read what the owner may, and nobody else write."""
    return (mode & 0o755) | (mode & 0o500) >> 3
