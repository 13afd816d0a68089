"""The units of an environment on disk: what they say, and whose is which."""

import os
import re

from . import logs, manager, place, procs
from .problem import HostProblem

MARK = "# deployer environment "
NAME = re.compile(r"[A-Za-z0-9._-]+")
PATH = re.compile(r"/[^\x00-\x1f\x7f]+")

UNIT = """\
{mark}
# Written by deployer; what is changed here is lost. Use `{systemctl} edit` to add to it.
[Unit]
Description={service} of {environment} (deployer)
After=network.target
# a process that ends at once, four times in a row, is given up
StartLimitIntervalSec=10
StartLimitBurst=4

[Service]
Type=exec
WorkingDirectory={root}
Environment={variable}={uuid}
# by env, as systemd takes no program whose own path has quotes in it
ExecStart=/usr/bin/env runtime/python -I runtime/launch.py {service} {number} variables.json
Restart=always
RestartSec=1
Slice={slice}
KillMode=control-group
TimeoutStopSec=10
StandardOutput=append:{log}
StandardError=append:{log}
UMask=0022
LockPersonality=yes
NoNewPrivileges=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
{more}
[Install]
WantedBy={target}
"""


def _prefix(spec):
    return "deployer-%s-" % spec["environment"]


def name(spec, service):
    """The unit of a service."""
    return _prefix(spec) + service + ".service"


def service(spec, unit):
    """The service of a unit: `name` the other way round."""
    return unit[len(_prefix(spec)) : -len(".service")]


def mark(spec):
    """The first line of every file of this environment's outside its root."""
    return MARK + spec["uuid"]


def text(spec, service, number):
    """A service's unit. No value of a user stands in it but a path, and nothing to be expanded."""
    kind = manager.of(spec)
    for value in (spec["environment"], service, spec["user"] or "", spec["uuid"]):
        if value and not NAME.fullmatch(value):
            raise HostProblem("SERVICE_FAILED", "%r can't stand in a unit of systemd" % value)
    values = {"user": spec["user"], "root": escaped(spec["root"])}
    return UNIT.format(
        mark=mark(spec),
        systemctl=" ".join(("systemctl", *kind.arguments)),
        environment=spec["environment"],
        service=service,
        number=int(number),
        variable=procs.SERVICES_VARIABLE,
        uuid=spec["uuid"],
        slice=procs.slice_name(spec["uuid"]),
        log=escaped(logs.path(spec, service)),
        more=kind.service.format(**values),
        target=kind.target,
        **values,
    )


def escaped(path):
    """A path as systemd reads it back from a unit (systemd.unit(5), "Specifiers")."""
    if not PATH.fullmatch(path):
        raise HostProblem(
            "SERVICE_FAILED",
            "%r can't stand in a unit of systemd" % path,
            'Give it a name without control characters, or set runtime = "supervisor".',
        )
    return path.replace("%", "%%")


def path(spec, unit):
    """Where a unit lies."""
    return os.path.join(manager.of(spec).folder, unit)


def _link(spec, unit):
    """What has a unit started at boot."""
    kind = manager.of(spec)
    return os.path.join(kind.folder, kind.target + ".wants", unit)


def is_own(spec, file):
    """Whether a file begins with this environment's mark."""
    try:
        with open(file, encoding="utf-8") as opened:
            return opened.readline().strip() == mark(spec)
    except (OSError, UnicodeDecodeError):
        return False


def own(spec):
    """This environment's units, by their mark: names of several may begin alike."""
    try:
        found = os.listdir(manager.of(spec).folder)
    except OSError:
        return []
    return [
        unit
        for unit in sorted(found)
        if unit.startswith("deployer-")
        and unit.endswith(".service")
        and is_own(spec, path(spec, unit))
    ]


def refuse_foreign(spec, names):
    """Raise `HostProblem` if one of these units is there and is not this environment's."""
    for unit in names:
        if os.path.lexists(path(spec, unit)) and not is_own(spec, path(spec, unit)):
            raise HostProblem(
                "SERVICE_FAILED",
                "%s is not this environment's" % path(spec, unit),
                "Remove that unit, or give the environment or the service another name.",
            )


def is_enabled(spec, unit):
    """Whether a unit is started at boot."""
    return os.path.lexists(_link(spec, unit))


def disable(spec, unit):
    """Let a unit not be started at boot, without systemd."""
    place.discard(_link(spec, unit))


def write(spec, service, number):
    """Write the unit of a service; return whether its text changed."""
    target = path(spec, name(spec, service))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    return place.write(target, text(spec, service, number))


def discard(spec, names):
    """Remove units, and the folders that this leaves empty."""
    for unit in names:
        disable(spec, unit)
        place.discard(path(spec, unit))
    folder = manager.of(spec).folder
    for empty in (os.path.dirname(_link(spec, "")), folder, os.path.dirname(folder)):
        try:
            os.rmdir(empty)
        except OSError:
            continue
