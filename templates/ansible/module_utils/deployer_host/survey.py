"""What a host lacks before it can be prepared. Changes nothing."""

import os
import shutil
import subprocess

TIMEOUT = 20.0  # seconds for one program
CLOCKS = ("chrony", "chronyd", "ntp", "ntpd", "ntpsec", "openntpd", "systemd-timesyncd")


def missing_packages(spec):
    """Packages of `spec["packages"]` to install, and one for the clock where nothing keeps it.

    Known for Debian and its kin; elsewhere all are named, and Ansible's `package` finds out.
    """
    wanted = list(spec.get("packages", ()))
    debian = shutil.which("dpkg-query") is not None
    if _lacks_clock():
        wanted.append("systemd-timesyncd" if debian else "chrony")
    return absent(wanted) if debian else wanted


def absent(names):
    """Which Debian packages of `names` aren't installed; none where only Debian's dpkg knows."""
    if not names or shutil.which("dpkg-query") is None:
        return []
    form = "--showformat=${Package} ${db:Status-Status}\\n"
    said = _say("dpkg-query", "--show", form, *names)[1].splitlines()
    present = {line.split()[0] for line in said if line.endswith(" installed")}
    return [name for name in names if name not in present]


def room(folder):
    """Bytes that are free on the disk where `folder` is, or would be made."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _lacks_clock():
    """Whether nothing sets this machine's clock. A container has its host's."""
    if not os.path.isdir("/run/systemd/system"):
        return False
    if _say("systemd-detect-virt", "--container", "--quiet")[0] == 0:
        return False
    return "active" not in _say("systemctl", "is-active", *CLOCKS)[1].split()


def _say(*command):
    """(exit code, what it said) of a program; 127 where there is none or it hangs."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 127, ""
    return done.returncode, done.stdout.decode("utf-8", "replace")
