"""Secrets: references in files and in the store, resolved where they are used and nowhere else."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
import subprocess
from typing import TYPE_CHECKING, Any

from deployer import redact
from deployer.errors import Code, Finding, GateError, StepError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Ask = Callable[[str], str]
    """Asks a person for a secret, given what it is; returns what was typed."""

COMMAND_TIMEOUT = 30.0  # seconds
LONGEST = 65_536  # bytes; half of what Linux takes for one variable (execve(2), MAX_ARG_STRLEN)
WAYS = "{ env = NAME }, { file = PATH }, { command = [PROGRAM, …] } or { prompt = true }"


def reference(value: object) -> dict[str, Any]:
    """`value` if it refers to a secret in one of the four ways; else `ValueError`.

    The message never repeats the value: it may be the secret itself.
    """
    if isinstance(value, str):
        redact.remember(value)  # it will not be told by anybody else either
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f"must refer to a secret: {WAYS}; not say it")
    [(way, where)] = value.items()
    if way in ("env", "file") and isinstance(where, str) and where and "\0" not in where:
        return {way: str(where)}
    if way == "prompt" and str(where).lower() == "true":  # `--set` gives it as text
        return {way: True}
    words = isinstance(where, list) and where and all(isinstance(w, str) for w in where)
    if way == "command" and words:
        return {way: [str(word) for word in where]}
    raise ValueError(f"must refer to a secret: {WAYS}")


def is_reference(value: object) -> bool:
    """Whether `value` is a table that refers to a secret."""
    try:
        return isinstance(value, dict) and bool(reference(value))
    except ValueError:
        return False


def resolve(
    secret: Mapping[str, Any],
    what: str,
    base: Path,
    *,
    ask: Ask | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> str:
    """The secret that a reference names; `base` is the folder that its file is relative to.

    From then on it is taken out of all that is told. `ask` asks a person, where one is there;
    `warn` is told of a file that anybody can read. Raises `StepError`, which says what the secret
    is for and never what it is.
    """
    [(way, where)] = secret.items()
    try:
        if way == "env":
            found = os.environ.get(where, "")
        elif way == "file":
            found = _read((base / where).expanduser(), what, warn)
        elif way == "prompt":
            found = ask(what) if ask else ""
        else:
            found = _output(where, base)
    except subprocess.TimeoutExpired:
        raise _missing(what, way, where, f"it took longer than {COMMAND_TIMEOUT:g} s") from None
    except (OSError, UnicodeDecodeError, subprocess.SubprocessError) as problem:
        is_text = not isinstance(problem, UnicodeDecodeError)
        reason = getattr(problem, "strerror", None) or str(problem) if is_text else "not UTF-8"
        raise _missing(what, way, where, reason) from None
    found = found.rstrip("\r\n")
    redact.remember(found)
    if not found:
        raise _missing(what, way, where, _empty(way, where, asked=ask is not None))
    if "\0" in found or len(found.encode(errors="replace")) > LONGEST:
        wrong = "it has a NUL in it" if "\0" in found else f"it is longer than {LONGEST} bytes"
        raise _missing(what, way, where, f"{wrong}, and no environment variable can be")
    return found


def _empty(way: str, where: Any, *, asked: bool) -> str:
    if way == "prompt":
        return "nothing was typed" if asked else "there is no terminal to ask on"
    return "it is not set" if way == "env" and where not in os.environ else "it is empty"


def _read(path: Path, what: str, warn: Callable[[str], None]) -> str:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
        raise OSError(0, "it is no file")
    if found.st_size > LONGEST:
        raise OSError(0, f"it is longer than {LONGEST} bytes")
    if found.st_mode & stat.S_IROTH:
        warn(f"{what}: everybody on this machine can read {path}; to end that: chmod o-r {path}")
    return path.read_text(encoding="utf-8")


def _output(command: list[str], base: Path) -> str:
    done = subprocess.run(
        command,
        cwd=base,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=COMMAND_TIMEOUT,
    )
    if done.returncode:
        # what it said may hold the secret; its exit code doesn't
        raise subprocess.SubprocessError(f"it exited {done.returncode}")
    return done.stdout


def _missing(what: str, way: str, where: Any, reason: str) -> StepError:
    place, hint = {
        "env": (f"the environment variable {where}", "Set and export it."),
        "file": (f"the file {where}", "Write it there, readable for you alone."),
        "command": (
            f"the command {where[0] if way == 'command' else ''}",
            "Call it by hand in the workspace: it must print the secret and exit 0.",
        ),
        "prompt": ("you", "Run the command on a terminal."),
    }[way]
    return StepError(
        f"{what} can't be had from {place}: {reason}",
        code=Code.SECRET_MISSING,
        hint=f"{hint} Or change the reference in the environment file.",
    )


class Vault:
    """The secrets of one operation: each is asked for once, when it is first needed."""

    def __init__(
        self, base: Path, ask: Ask | None = None, warn: Callable[[str], None] = lambda _: None
    ) -> None:
        """`base` is the workspace's folder; `ask` and `warn` are those of `resolve`."""
        self._base, self._ask, self._warn = base, ask, warn
        self._found: dict[str, str] = {}

    def values(self, references: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """{setting: secret} of {setting: reference}.

        Raises `GateError` with every one that can't be had.
        """
        missing: list[StepError] = []
        found = {}
        for name, where in references.items():
            key = json.dumps([name, where] if "prompt" in where else where)
            try:
                if key not in self._found:
                    self._found[key] = resolve(
                        where, f"settings.{name}", self._base, ask=self._ask, warn=self._warn
                    )
            except StepError as problem:
                missing.append(problem)
            else:
                found[name] = self._found[key]
        if missing:
            raise GateError(
                missing[0].message
                if len(missing) == 1
                else f"{len(missing)} secrets can't be had, and nothing was touched",
                code=Code.SECRET_MISSING,
                findings=[Finding("secret-missing", one.message, fix=one.hint) for one in missing],
            )
        return found


def digests(path: Path, values: Mapping[str, str], *, make: bool) -> dict[str, str]:
    """What tells a changed secret from the same one, and nothing else: HMAC-SHA256, in hex.

    The key is in the file `path`, written with `make` where there is none; without one, and
    without `make`, no digest is equal to an earlier one.
    """
    key = _key(path, make=make) if values else b""
    return {
        name: hmac.new(key, value.encode(), hashlib.sha256).hexdigest()
        for name, value in values.items()
    }


def _key(path: Path, *, make: bool) -> bytes:
    known = _known_key(path)
    if known or not make:
        return known or secrets.token_bytes(32)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        if path.exists():  # and is no key
            new.replace(path)
        else:
            with contextlib.suppress(FileExistsError):  # another operation was faster
                os.link(new, path)
    finally:
        new.unlink(missing_ok=True)
    return _known_key(path)


def _known_key(path: Path) -> bytes:
    try:
        return bytes.fromhex(path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return b""
