"""What the packages of an application bring along: services of their own, not started at boot.

Debian's packages enable their services as they are installed. The application's are run by its
runtime, under its own user; the package's own would take their ports. What is enabled is noted
before the installation, in a file, so that one that was cut short is made good by the next. So is
what keeps services from being started meanwhile: an installation that is killed, or that another
one overtakes, leaves it behind, and no service of the host's would be started by apt any more.
"""

import json
import os
import shutil

from . import place
from .problem import HostProblem

FOLDER = "/etc/systemd/system"  # where they are enabled
POLICY = "/usr/sbin/policy-rc.d"  # what keeps services from being started
OURS = "#!/bin/sh\nexit 101\n"  # as Ansible's apt writes it for us
VENDOR = ("/lib/systemd/system/", "/usr/lib/systemd/system/")  # where packages put units


def check(spec):
    """Refuse a host that can't have the application's packages."""
    if spec.get("user") and spec.get("app_packages") and shutil.which("dpkg-query") is None:
        raise HostProblem(
            "HOST_UNUSABLE",
            "the application needs Debian's %s, and %s is no Debian"
            % (", ".join(spec["app_packages"]), spec["host"]),
            "Choose a host that has apt.",
        )


def before(spec):
    """Take note of what is enabled, before packages are installed."""
    if not os.path.exists(_note(spec)):
        note = {"enabled": sorted(_enabled()), "policy": os.path.lexists(POLICY)}
        place.write(_note(spec), json.dumps(note))


def settle(spec):
    """Let nothing that packages enabled since then start at boot; return whether anything would."""
    try:
        with open(_note(spec), encoding="utf-8") as file:
            note = json.load(file)
    except FileNotFoundError:
        return False
    added = _enabled() - set(note["enabled"])
    for link in added:
        os.unlink(link)
    if not note["policy"] and _is_ours(POLICY):
        os.unlink(POLICY)
    place.discard(_note(spec))
    return bool(added)


def _note(spec):
    return place.path(spec, "runtime", "enabled.json")


def _is_ours(policy):
    try:
        with open(policy, encoding="utf-8") as file:
            return file.read() == OURS
    except (OSError, UnicodeDecodeError):
        return False


def _enabled():
    """The links by which systemd starts units of packages."""
    found = set()
    for folder, _, names in os.walk(FOLDER):
        for name in names if folder.endswith((".wants", ".requires")) else ():
            link = os.path.join(folder, name)
            if os.path.islink(link) and os.readlink(link).startswith(VENDOR):
                found.add(link)
    return found
