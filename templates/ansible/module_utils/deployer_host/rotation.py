"""Services' logs, kept short by logrotate: the host's daily run of it, or a user's own."""

import os
import shutil

from . import manager, place, units

FOLDER = "/etc/logrotate.d"
RULE = """\
{mark}
"{logs}/*.log" {{
    size 10M
    rotate 5
    copytruncate
    missingok
    notifempty
    nodateext
}}
"""
SERVICE = """\
{mark}
[Unit]
Description=Rotate the logs of {environment} (deployer)

[Service]
Type=oneshot
WorkingDirectory={root}/runtime
ExecStart={logrotate} --state logrotate.state logrotate.conf
"""
TIMER = """\
{mark}
[Unit]
Description=Rotate the logs of {environment} daily (deployer)

[Timer]
OnCalendar=daily
Persistent=yes

[Install]
WantedBy=default.target
"""


def write(spec, dry=False):
    """Let logs be rotated, if logrotate is used here; return whether anything changed."""
    files = {path: text for path, text in _files(spec).items() if not _is_foreign(spec, path)}
    if dry:
        return not all(place.is_written(path, text) for path, text in files.items())
    changed = False
    for path, text in files.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        changed = place.write(path, text) or changed
    timer = _units(spec)[0]
    if units.path(spec, timer) in files and (changed or not units.is_enabled(spec, timer)):
        manager.systemctl(spec, "daemon-reload")
        manager.systemctl(spec, "enable", "--now", "--", timer)
        changed = True
    return changed


def _files(spec):
    """{path: text} of what has the logs rotated; empty without logrotate."""
    mark = units.mark(spec)
    if manager.of(spec) is manager.SYSTEM:
        rule = RULE.format(mark=mark, logs=place.path(spec, "logs"))
        return {_rule(spec): rule} if os.path.isdir(FOLDER) else {}
    logrotate = shutil.which("logrotate", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if logrotate is None:
        return {}
    timer, service = (units.path(spec, unit) for unit in _units(spec))
    values = {"mark": mark, "environment": spec["environment"], "logrotate": logrotate}
    values["root"] = units.escaped(spec["root"])
    return {
        # relative: a user's path may have anything in it that means something to logrotate
        place.path(spec, "runtime", "logrotate.conf"): RULE.format(mark=mark, logs="../logs"),
        service: SERVICE.format(**values),
        timer: TIMER.format(**values),
    }


def _rule(spec):
    return os.path.join(FOLDER, "deployer-" + spec["environment"])


def _units(spec):
    """The timer, and what it starts; no service's unit is called so, for want of an underscore."""
    name = "deployer_logs-" + spec["environment"]
    return [name + ".timer", name + ".service"]


def _is_foreign(spec, path):
    return os.path.lexists(path) and not units.is_own(spec, path)


def _own(spec):
    return [unit for unit in _units(spec) if units.is_own(spec, units.path(spec, unit))]


def traces(spec):
    """Whether there is anything to remove."""
    return bool(_own(spec)) or units.is_own(spec, _rule(spec))


def remove(spec):
    """Let logs not be rotated any more; return whether they were."""
    own, ruled = _own(spec), units.is_own(spec, _rule(spec))
    if own and manager.answers(spec):
        manager.systemctl(spec, "disable", "--now", "--", *own)
    units.discard(spec, own)
    if ruled:
        place.discard(_rule(spec))
    return bool(own) or ruled
