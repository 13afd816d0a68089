"""A firewall that lets in SSH, and the ports of the environments on this host; by nftables.

One table of our own, loaded as a whole or not at all. It never locks anybody out: new rules are
dropped again by themselves unless a new connection, made under them, confirms them in time.
"""

import json
import os
import subprocess
import sys

from . import listeners, place, procs
from .problem import HostProblem

FOLDER = "/etc/deployer/firewall"
RULES = "/etc/deployer/firewall.nft"
UNIT = "/etc/systemd/system/deployer-firewall.service"
WAITING = "/run/deployer/firewall-unconfirmed"
CONFIRM_WITHIN = 30  # seconds
BOOTED = "/run/systemd/system"
UNIT_TEXT = (
    """\
[Unit]
Description=Ports that deployer has opened, all others closed
DefaultDependencies=no
Before=network-pre.target
Wants=network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f %s

[Install]
WantedBy=multi-user.target
"""
    % RULES
)
TABLE = """\
# Written by deployer from the files in %(folder)s.
table inet deployer
delete table inet deployer
table inet deployer {
    chain input {
        type filter hook input priority 10; policy accept;
        ct state established,related accept
        iif lo accept
        meta l4proto { 1, 58 } accept
        udp dport { 68, 546 } accept
        tcp dport { %(ssh)s } accept
%(open)s        meta l4proto { 6, 17 } drop
    }
}
"""


def apply(spec):
    """Open `spec["open"]` besides SSH and what other environments opened; None closes nothing.

    Returns whether anything changed; then `confirm` must follow over a new connection.
    """
    own = os.path.join(FOLDER, spec["uuid"] + ".json")
    if spec["open"] is None:
        return _leave(own)
    os.makedirs(FOLDER, mode=0o755, exist_ok=True)
    wanted = {"ports": sorted(spec["open"]), "environment": spec["environment"]}
    place.write(own, json.dumps(wanted) + "\n")
    text = _text(spec["ssh_port"])
    if _read(RULES) == text and _loaded() and not os.path.exists(WAITING):
        return False
    before = _read(RULES)
    os.makedirs(os.path.dirname(WAITING), mode=0o755, exist_ok=True)
    place.write(WAITING, json.dumps(before))
    place.write(RULES, text)
    _revert_later()
    _nft("-f", RULES)
    return True


def confirm(spec):
    """Keep the rules that let this connection in, also after the next boot."""
    place.discard(WAITING)
    if os.path.isdir(BOOTED) and place.write(UNIT, UNIT_TEXT):
        _run(["systemctl", "enable", "--quiet", "deployer-firewall.service"])
    return True


def _leave(own):
    """Close nothing for this environment any more; the last one takes the table with it."""
    if not os.path.exists(own):
        return False
    place.discard(own)
    if any(name.endswith(".json") for name in os.listdir(FOLDER)):
        place.write(RULES, _text(None))
        _nft("-f", RULES)
        return False
    _nft("delete", "table", "inet", "deployer", check=False)
    if os.path.exists(UNIT):
        _run(["systemctl", "disable", "--quiet", "deployer-firewall.service"])
    for path in (UNIT, RULES, WAITING, FOLDER):
        place.discard(path)
    return False


def remove(spec):
    """Leave nothing of this environment in the firewall; return whether there was anything."""
    own = os.path.join(FOLDER, spec["uuid"] + ".json")
    there = os.path.exists(own)
    _leave(own)
    return there


def _text(port):
    ports = set()
    for name in sorted(os.listdir(FOLDER)):
        if name.endswith(".json"):
            with open(os.path.join(FOLDER, name)) as file:
                ports.update(json.load(file)["ports"])
    opened = ""
    if ports:
        shown = ", ".join(str(int(one)) for one in sorted(ports))
        opened = "".join(
            "        %s dport { %s } accept\n" % (protocol, shown) for protocol in ("tcp", "udp")
        )
    ssh = ", ".join(str(one) for one in sorted(_ssh_ports(port)))
    return TABLE % {"folder": FOLDER, "ssh": ssh, "open": opened}


def _ssh_ports(port):
    """Every port that SSH may come by: this connection's, and what a server listens on."""
    found = {22} | ({port} if port else set())
    for pid in procs.ancestors(os.getpid()):
        said = procs.variables(pid).get("SSH_CONNECTION", "").split()
        if len(said) == 4 and said[3].isdigit():  # client, its port, server, its port
            found.add(int(said[3]))
    for pid in procs.pids():
        if procs.name(pid) == "sshd":
            found |= listeners.ports_of(pid)
    return found


def _loaded():
    return _nft("list", "table", "inet", "deployer", check=False) == 0


def _revert_later():
    """Go back to the rules of before unless `confirm` comes; in a process of its own."""
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", _REVERT, WAITING, RULES, str(CONFIRM_WITHIN)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return child.pid


_REVERT = """
import json, os, subprocess, sys, time
waiting, rules, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3])
mine = os.stat(waiting).st_ino
time.sleep(seconds)
try:
    still = os.stat(waiting).st_ino == mine
except OSError:
    still = False
if still:
    with open(waiting) as file:
        before = json.load(file)
    subprocess.call(["nft", "delete", "table", "inet", "deployer"])
    if before:
        with open(rules, "w") as file:
            file.write(before)
        subprocess.call(["nft", "-f", rules])
    else:
        os.unlink(rules)
    os.unlink(waiting)
"""


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def _nft(*words, check=True):
    return _run(["nft", *words], check)


def _run(command, check=True):
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(os.environ, LC_ALL="C", PATH="/usr/sbin:/usr/bin:/sbin:/bin"),
        )
    except FileNotFoundError:
        if not check:
            return 127
        raise HostProblem("TOOL_MISSING", "this host has no %s" % command[0], "Install it there.")
    if check and done.returncode:
        said = done.stdout.decode("utf-8", "replace").strip().splitlines()
        raise HostProblem(
            "HOST_FAILED",
            "%s failed%s" % (command[0], ": " + said[0] if said else ""),
            "The host must allow nftables; without them set firewall = false.",
            said[-20:],
        )
    return done.returncode
