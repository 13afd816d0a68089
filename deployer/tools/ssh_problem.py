"""Why an SSH connection failed: told apart as far as ssh tells it, each with its remedy."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from deployer.errors import Code, StepError
from deployer.tools.ssh import CONNECT_TIMEOUT, FAILED, Done

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.tools.ssh import Login


def problem(login: Login, done: Done) -> StepError:
    """Why a connection failed, told apart as far as ssh does, each with its remedy."""
    said = [*_said_on_the_way(login), *done.said]
    text = " ".join(said)
    user, pin, place = login.user, login.name, f"{login.address} port {login.port}"
    if login.jump and "UNKNOWN port" in text and "stdio forwarding failed" not in text:
        # it came no further than to the host on the way
        user, at, way = login.jump.rpartition("@")
        user = user if at else "your user"
        pin, place = f"jump-{way}", f"the jump host {way}"
    if done.outlived is not None:
        return StepError(
            f"{place} didn't answer within {done.outlived:g} s",
            code=Code.TIMEOUT,
            host=login.name,
            hint="See whether the host is overloaded or the network lost it.",
        )
    for sign, code, message, hint in (
        (
            "IDENTIFICATION HAS CHANGED",
            Code.HOST_KEY_CHANGED,
            f"another host key answers on {place} than the one that was pinned",
            "If that machine was really set up anew, forget its key: "
            f"ssh-keygen -R {shlex.quote(pin)} -f {shlex.quote(str(login.known_hosts))}, "
            "then run provision; if not, somebody may be listening in.",
        ),
        (
            "Host key verification failed",
            Code.HOST_KEY_CHANGED,
            f"the host key of {place} is not pinned",
            "Run provision: it learns the keys of the hosts.",
        ),
        (
            "Permission denied",
            Code.AUTHENTICATION_FAILED,
            f"{user} may not log in on {place}",
            _about_key(login.key),
        ),
        (
            "Too many authentication failures",
            Code.AUTHENTICATION_FAILED,
            f"{place} refused {user} after too many keys",
            "Name the key to use in the provider's options.",
        ),
        (
            "Connection refused",
            Code.CONNECTION_REFUSED,
            f"nothing listens on {place}",
            "Check that an SSH server runs there, and its port.",
        ),
        (
            "Could not resolve",
            Code.HOST_UNREACHABLE,
            f"{place.removeprefix('the jump host ').partition(' ')[0]} "
            "is no name that can be resolved",
            "Check the address.",
        ),
        (
            "imed out",
            Code.CONNECTION_TIMEOUT,
            f"{place} doesn't answer within {CONNECT_TIMEOUT} s",
            "Check that the machine is up, its address, and firewalls on the way.",
        ),
    ):
        if sign in text:
            return StepError(
                message,
                code=code,
                hint=hint,
                host=login.name,
                output=said[-5:],
                transient=code in (Code.CONNECTION_REFUSED, Code.CONNECTION_TIMEOUT),
            )
    return StepError(
        f"{place} can't be reached: {said[-1] if said else 'the connection was closed'}",
        code=Code.HOST_UNREACHABLE,
        hint="Check that the machine is up and in the network.",
        host=login.name,
        output=said[-5:],
        transient=True,
    )


def _said_on_the_way(login: Login) -> list[str]:
    try:
        found = Done(FAILED, b"", login.log.read_bytes()).said
        login.log.unlink()
    except OSError:
        return []
    return found if login.jump else []


def _about_key(key: Path | None) -> str:
    """What to do where a key didn't open the door."""
    if key is None:
        return (
            "Check the user; name the key to use in provider_options, or load it into your SSH "
            "agent. Its public half belongs into that user's ~/.ssh/authorized_keys."
        )
    if not key.is_file():
        return f"There is no key {key}: correct the path in provider_options."
    if key.stat().st_mode & 0o077:
        return f"ssh uses no key that others may read: chmod 600 {shlex.quote(str(key))}"
    return (
        f"Check the user and the key {key}: its public half belongs into that user's "
        "~/.ssh/authorized_keys; a key with a passphrase into an SSH agent."
    )
