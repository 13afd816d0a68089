"""Which of systemd's managers has an environment's units: the host's, or a user's own."""

import os
import pwd
import shutil
import socket
import subprocess
from collections import namedtuple

from .problem import HostProblem

BOOTED = "/run/systemd/system"  # sd_booted(3)
LINGERING = "/var/lib/systemd/linger"  # has a file for each user whose manager starts at boot
TIMEOUT = 60.0  # seconds for one systemctl; a stop takes up to 10 and a kill

# folder: where its units lie; target: what wants them at boot; arguments and variables: what
# systemctl and journalctl need to find it; socket: where it answers; service: what is said to it
# alone in each unit's section [Service]
Manager = namedtuple("Manager", "folder target arguments variables socket service")

SYSTEM = Manager(
    folder="/etc/systemd/system",
    target="multi-user.target",
    arguments=(),
    variables={},
    socket=None,
    service="""\
User={user}
Group={user}
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
PrivateDevices=yes
PrivateTmp=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
ReadWritePaths="{root}/shared"
""",
)


def of(spec):
    """The manager of an environment: the host's where services have a user of their own."""
    return SYSTEM if spec.get("user") else _own()


def _own():
    """The manager of whoever runs us. Its places are fixed, whatever our variables say.

    It can't take away more than any process may give up (systemd.exec(5), "Sandboxing"):
    without root the settings for capabilities fail, and those for file systems do nothing.
    """
    runtime = "/run/user/%d" % os.getuid()
    return Manager(
        folder=os.path.join(_home(), ".config/systemd/user"),
        target="default.target",
        arguments=("--user",),
        variables={
            "XDG_RUNTIME_DIR": runtime,
            "DBUS_SESSION_BUS_ADDRESS": "unix:path=%s/bus" % runtime,
        },
        socket=runtime + "/systemd/private",
        service="",
    )


def _home():
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/nonexistent"  # who is in no passwd has no manager either


def answers(spec):
    """Whether the manager runs here."""
    return lacking(spec) is None


def lacking(spec):
    """(what, remedy) where the manager doesn't run here; None where it does."""
    otherwise = 'et runtime = "supervisor" in the environment file, if the app runs under that.'
    if not os.path.isdir(BOOTED) or shutil.which("systemctl", path=_path()) is None:
        return "systemd doesn't run on %s" % spec["host"], "S" + otherwise
    path = of(spec).socket
    if path is None or _accepts(path):
        return None
    return (
        "systemd doesn't run for the user %s on %s" % (_name(), spec["host"]),
        "Let it run from boot on: sudo loginctl enable-linger %s. Or s%s" % (_name(), otherwise),
    )


def _accepts(path):
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _name():
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _path():
    return os.pathsep.join((os.environ.get("PATH") or os.defpath, "/usr/bin", "/bin"))


def systemctl(spec, *arguments, check=True):
    """What `systemctl` says to the manager of an environment; `HostProblem` where it fails."""
    manager = of(spec)
    try:
        done = subprocess.run(
            ["systemctl", *manager.arguments, "--no-pager", "--no-ask-password", *arguments],
            env={"PATH": _path(), "LC_ALL": "C", "TZ": "UTC", **manager.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise HostProblem(
            "TIMEOUT", "systemctl %s took over %d s" % (arguments[0], TIMEOUT)
        ) from None
    if check and done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise HostProblem("SERVICE_FAILED", "systemctl %s failed" % arguments[0], output=said[-20:])
    return done.stdout.decode("utf-8", "replace")


def lingers(spec):
    """Whether the manager runs from boot on, and not only while its user is logged in."""
    return of(spec) is SYSTEM or os.path.exists(os.path.join(LINGERING, _name()))


def linger(spec):
    """Let the manager run from boot on, if its user may say so; return whether that changed."""
    if lingers(spec):
        return False
    try:
        subprocess.run(
            ["loginctl", "--no-ask-password", "enable-linger", _name()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return lingers(spec)


def warnings(spec):
    """What a user should know of a manager that runs."""
    if lingers(spec):
        return []
    return [
        "services end when %s logs out of %s; an administrator changes that: "
        "loginctl enable-linger %s" % (_name(), spec["host"], _name())
    ]
