"""Containers of one environment: launch, remove, probe, sweep. Standard library and `lxc` alone.

Each carries its environment's id as user.deployer.id. What carries another or none is never
touched: a container that exists is adopted if it carries ours, and refused if not.
"""

import json
import os
import signal
import subprocess
import sys
import time

TAG = "user.deployer.id"
ADDRESS_WAIT = 90.0  # seconds until a new container must have an address
SETTLE_WAIT = 45.0  # seconds that LXD may go on with what nobody waits for any more
INSTALL = (
    "command -v sshd >/dev/null && command -v python3 >/dev/null"
    " || { export DEBIAN_FRONTEND=noninteractive; apt-get update -q"
    " && apt-get install -q -y --no-install-recommends openssh-server python3; }"
)
AUTHORIZE = (
    "umask 077; mkdir -p /root/.ssh; touch /root/.ssh/authorized_keys; IFS= read -r key;"
    ' grep -qxF -- "$key" /root/.ssh/authorized_keys'
    ' || printf "%s\\n" "$key" >>/root/.ssh/authorized_keys'
)


def lxc(*words, stdin="", check=True):
    done = subprocess.run(
        ["lxc", *words], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if check and done.returncode:
        sys.exit("lxc %s: %s" % (words[0], reason(done)))
    return done


def reason(done):
    """Why a command failed, in its own last words."""
    said = [line for line in done.stderr.strip().splitlines() if line.strip()]
    return (said[-1] if said else "failed").replace("Error: ", "", 1)


def containers(*filters):
    return json.loads(lxc("list", "--format", "json", *filters).stdout)


def find(name):
    return next((one for one in containers("name=" + name) if one["name"] == name), None)


def settled(name):
    """The container, once LXD itself works on it no more; None if there is none.

    LXD finishes what a client that was killed has asked for, and refuses all else meanwhile.
    """
    limit = time.monotonic() + SETTLE_WAIT
    while name in busy():
        if time.monotonic() > limit:
            sys.exit("LXD works on %s for over %d s; see: lxc operation list" % (name, SETTLE_WAIT))
        time.sleep(0.2)
    return find(name)


def busy():
    """The names of containers that LXD works on."""
    # nothing is printed where there is none; those that ended stay listed for a while
    operations = json.loads(lxc("query", "/1.0/operations?recursion=1").stdout.strip() or "{}")
    return {
        path.rpartition("/")[2]
        for some in operations.values()
        for one in some
        if one["class"] == "task" and one["status_code"] < 200
        for path in (one.get("resources") or {}).get("instances") or []
    }


def address(one):
    """The IPv4 address that others reach a container by; None while it has none.

    The network card comes first: what Docker makes inside is nobody's way in.
    """
    networks = (one.get("state") or {}).get("network") or {}
    cards = [name for name, device in one["expanded_devices"].items() if device["type"] == "nic"]
    for card in [*sorted(cards), "eth0"]:
        for found in (networks.get(card) or {}).get("addresses") or []:
            if found["family"] == "inet" and found["scope"] == "global":
                return found["address"]
    return None


def launch():
    name, owner = os.environ["NAME"], os.environ["ID"]
    one = settled(name)
    if one is None:
        limits = [("limits.cpu", os.environ["CPU"]), ("limits.memory", os.environ["MEMORY"])]
        config = [("%s=%s" % (key, value)) for key, value in limits if value]
        words = ["launch", os.environ["IMAGE"], name, "-p", os.environ["PROFILE"]]
        # a systemd of today wants namespaces of its own
        for pair in [TAG + "=" + owner, "security.nesting=true", *config]:
            words += ["-c", pair]
        done = lxc(*words, check=False)
        if done.returncode:
            made = (os.environ["IMAGE"], os.environ["PROFILE"], reason(done))
            sys.exit(
                "it can't be launched from image %s with profile %s: %s."
                " See: lxc image list, lxc profile list" % made
            )
    elif one["config"].get(TAG) != owner:
        sys.exit(
            "a container of that name exists, and is not this environment's: it was left alone."
            " Remove it, or set name in provider_options"
        )
    elif one["status"] != "Running":
        lxc("start", name)
    limit = time.monotonic() + ADDRESS_WAIT
    while not address(find(name)):
        if time.monotonic() > limit:
            sys.exit("%s got no IPv4 address within %d s" % (name, ADDRESS_WAIT))
        time.sleep(0.2)
    lxc("exec", name, "--", "sh", "-c", AUTHORIZE, stdin=os.environ["PUBLIC_KEY"] + "\n")
    lxc("exec", name, "--", "sh", "-c", INSTALL)
    print("up at %s" % address(find(name)))


def remove():
    one = find(os.environ["NAME"])
    if one and one["config"].get(TAG) == os.environ["ID"]:
        delete(one["name"])


def delete(name):
    limit = time.monotonic() + SETTLE_WAIT
    while settled(name):
        done = lxc("delete", "--force", name, check=False)
        if done.returncode == 0:
            return
        # another deletion, asked for by somebody who was killed, may just have come first
        if time.monotonic() > limit:
            sys.exit("%s can't be deleted: %s" % (name, reason(done)))
        time.sleep(0.5)


def own():
    owner = os.environ["DEPLOYER_ID"]
    return [one for one in containers(TAG + "=" + owner) if one["config"].get(TAG) == owner]


def probe():
    print(
        json.dumps(
            [
                {
                    "name": one["name"],
                    "address": address(one),
                    "id": one["config"].get("volatile.uuid"),
                    **trouble(one),
                }
                for one in own()
            ]
        )
    )


def trouble(one):
    """Why nobody can reach it now, and what to do; empty if nothing is known against it."""
    if one["status"] == "Running" and address(one):
        return {}
    if one["status"] == "Running":
        return {"problem": "it has no IPv4 address", "hint": "See: lxc info %s" % one["name"]}
    word = "restart --force" if one["status"] == "Error" else "start"
    command = "Run: lxc %s %s" % (word, one["name"])
    return {"problem": "the container is %s" % one["status"].lower(), "hint": command}


def sweep():
    for one in own():
        delete(one["name"])


def ready():
    """Whether the LXD here answers, and has what a container needs."""
    done = lxc("query", "/1.0/storage-pools", check=False)
    if done.returncode:
        sys.exit("LXD doesn't answer; start it, and see that you may use it (group lxd)")
    if not json.loads(done.stdout):
        sys.exit("LXD has no storage pool yet; run: lxd init")


# whoever interrupts it waits for no traceback
signal.signal(signal.SIGINT, lambda *_: sys.exit("interrupted"))
{"launch": launch, "remove": remove, "probe": probe, "sweep": sweep, "ready": ready}[sys.argv[1]]()
