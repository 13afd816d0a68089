"""Every error that a user can meet: its stable code, its exit code, and its remedy."""

from __future__ import annotations

import errno
from dataclasses import asdict, dataclass
from enum import IntEnum, StrEnum
from typing import Any, Literal

from deployer import redact


class Exit(IntEnum):
    """Exit codes of the command line."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    FILE = 3
    ENVIRONMENT = 4
    NOT_ALLOWED = 5
    LOCKED = 6
    GATE = 7
    NOT_AS_DESIRED = 8
    STORE = 9
    PROVISION = 10
    CONFIGURE = 20
    RELEASE = 30
    RUN = 40
    STOP = 45
    CLEAR = 46
    DESTROY = 50
    INTERRUPTED = 130
    TERMINATED = 143


EXIT_MEANING: dict[Exit, str] = {
    Exit.DONE: "done, or nothing to do",
    Exit.INTERNAL: "internal error: a bug; please report it with the log that the message names",
    Exit.USAGE: "the command line can't be understood",
    Exit.FILE: "a file can't be read into the model",
    Exit.ENVIRONMENT: "the environment was not found, or exists already",
    Exit.NOT_ALLOWED: "not allowed in this state",
    Exit.LOCKED: "locked by another operation",
    Exit.GATE: "a gate found something (also `validate`)",
    Exit.NOT_AS_DESIRED: "not as desired: drift, unhealthy, changes pending",
    Exit.STORE: "the workspace or its store is unusable: read-only, full, damaged, newer version",
    Exit.PROVISION: "provision failed",
    Exit.CONFIGURE: "configure failed",
    Exit.RELEASE: "release failed",
    Exit.RUN: "run failed",
    Exit.STOP: "stop failed",
    Exit.CLEAR: "clear failed",
    Exit.DESTROY: "destroy failed",
    Exit.INTERRUPTED: "interrupted (SIGINT)",
    Exit.TERMINATED: "terminated (SIGTERM)",
}


def verb_exit(verb: str) -> Exit:
    """The exit code of a failed verb."""
    return Exit[verb.upper()]


class Code(StrEnum):
    """Error codes of the JSON envelope. They are stable: programs match on them."""

    INTERNAL = "INTERNAL"
    USAGE = "USAGE"
    FILE_INVALID = "FILE_INVALID"
    ENVIRONMENT_NOT_FOUND = "ENVIRONMENT_NOT_FOUND"
    ENVIRONMENT_EXISTS = "ENVIRONMENT_EXISTS"
    SERVICE_NOT_FOUND = "SERVICE_NOT_FOUND"
    OPERATION_NOT_FOUND = "OPERATION_NOT_FOUND"
    HOST_NOT_FOUND = "HOST_NOT_FOUND"
    RELEASE_NOT_FOUND = "RELEASE_NOT_FOUND"
    NOT_ALLOWED = "NOT_ALLOWED"
    LOCKED = "LOCKED"
    GATE_FAILED = "GATE_FAILED"
    STORE_UNUSABLE = "STORE_UNUSABLE"
    TOOL_MISSING = "TOOL_MISSING"
    TOOL_FAILED = "TOOL_FAILED"
    TIMEOUT = "TIMEOUT"
    HOST_UNREACHABLE = "HOST_UNREACHABLE"
    CONNECTION_REFUSED = "CONNECTION_REFUSED"
    CONNECTION_TIMEOUT = "CONNECTION_TIMEOUT"
    AUTHENTICATION_FAILED = "AUTHENTICATION_FAILED"
    HOST_KEY_CHANGED = "HOST_KEY_CHANGED"
    HOST_UNUSABLE = "HOST_UNUSABLE"
    SECRET_MISSING = "SECRET_MISSING"  # noqa: S105
    WRONG_HOSTS = "WRONG_HOSTS"
    HOST_FAILED = "HOST_FAILED"
    COMMAND_FAILED = "COMMAND_FAILED"
    FOREIGN_ROOT = "FOREIGN_ROOT"
    OUTDATED_OPERATION = "OUTDATED_OPERATION"
    RELEASE_BROKEN = "RELEASE_BROKEN"
    SERVICE_FAILED = "SERVICE_FAILED"
    UNHEALTHY = "UNHEALTHY"
    INTERRUPTED = "INTERRUPTED"
    TERMINATED = "TERMINATED"


CODE_MEANING: dict[Code, str] = {
    Code.INTERNAL: "a bug in deployer",
    Code.USAGE: "an unknown command or option, or a missing or impossible value",
    Code.FILE_INVALID: "a file is missing, unreadable, or says something the model doesn't allow",
    Code.ENVIRONMENT_NOT_FOUND: "no environment of that name was created, or it was destroyed",
    Code.ENVIRONMENT_EXISTS: "`create` over an environment, or over a file that says otherwise",
    Code.SERVICE_NOT_FOUND: "the application has no service of that name",
    Code.OPERATION_NOT_FOUND: "the history has no operation of that id",
    Code.RELEASE_NOT_FOUND: "the environment has no release of that number",
    Code.HOST_NOT_FOUND: "the environment has no host of that name, or in that group",
    Code.NOT_ALLOWED: "the state machine doesn't allow the verb in this state",
    Code.LOCKED: "another operation holds the lease of the environment",
    Code.GATE_FAILED: "a gate refused before anything was touched; `details.findings` lists why",
    Code.STORE_UNUSABLE: "the workspace or its store can't be used",
    Code.TOOL_MISSING: "a program that the verb needs is not installed or doesn't start",
    Code.TOOL_FAILED: "a program that the verb needs failed without naming a host",
    Code.TIMEOUT: "a step outlived its timeout and was ended",
    Code.HOST_UNREACHABLE: "a host doesn't answer",
    Code.CONNECTION_REFUSED: "a host answers, but nothing listens on its SSH port",
    Code.CONNECTION_TIMEOUT: "a host's SSH port doesn't answer in time",
    Code.AUTHENTICATION_FAILED: "a host refuses the user or the key",
    Code.HOST_KEY_CHANGED: "a host shows another key than the pinned one, or none is pinned",
    Code.HOST_UNUSABLE: "a host lacks what is needed to work on it: Python, sudo, room on its disk",
    Code.SECRET_MISSING: "a secret can't be had from where the reference says",
    Code.WRONG_HOSTS: "the output `hosts` of a module is missing or not what is expected",
    Code.HOST_FAILED: "a task failed on a host",
    Code.COMMAND_FAILED: "a program of the operator's or the application's failed: a hook",
    Code.FOREIGN_ROOT: "the root folder on a host belongs to another environment",
    Code.OUTDATED_OPERATION: "a newer operation has taken over; this one may not change anything",
    Code.RELEASE_BROKEN: "the release on a host is not what was released",
    Code.SERVICE_FAILED: "a service doesn't start or doesn't stay up",
    Code.UNHEALTHY: "a service is up but didn't become healthy in time",
    Code.INTERRUPTED: "stopped by SIGINT",
    Code.TERMINATED: "stopped by SIGTERM",
}


@dataclass(frozen=True)
class Finding:
    """One thing that a file or a gate has to complain about, and how to mend it."""

    rule: str
    message: str
    fix: str = ""
    file: str | None = None
    line: int | None = None
    value: str | None = None
    column: int | None = None
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        parts = (self.file, self.line, self.column)
        place = "".join(f"{part}:" for part in parts if part)
        place = f"{place} " if place else ""
        level = "warning: " if self.level == "warning" else ""
        return f"{place}{level}{self.message}" + (f" ({self.fix})" if self.fix else "")


class DeployerError(Exception):
    """Base of all errors meant for users.

    `hint` says what to do about it, `resume` is the exact command that continues, `output` the
    last lines of the tool or service concerned, `transient` marks what is worth another try.
    """

    code = Code.INTERNAL
    exit_code = Exit.INTERNAL

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: Code | None = None,
        host: str | None = None,
        output: list[str] | None = None,
        findings: list[Finding] | None = None,
        details: dict[str, Any] | None = None,
        transient: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.code
        self.host = host
        self.output = output or []
        self.findings = findings or []
        self.transient = transient
        self.more = details or {}
        self.step: str | None = None
        self.verb: str | None = None
        self.resume: str | None = None
        self.log: str | None = None
        self.operation_id: str | None = None

    @property
    def details(self) -> dict[str, Any]:
        """Structured extras for the JSON envelope."""
        details: dict[str, Any] = dict(self.more)
        if self.findings:
            details["findings"] = [asdict(finding) for finding in self.findings]
        if self.output:
            details["output"] = self.output
        if self.log:
            details["log"] = self.log
        if self.verb:
            details["verb"] = self.verb
        return details

    def to_dict(self) -> dict[str, Any]:
        """The `error` of the JSON envelope, without secrets."""
        found: dict[str, Any] = redact.data(
            {
                "code": self.code.value,
                "message": self.message,
                "details": self.details,
                "step": self.step,
                "host": self.host,
                "hint": self.hint or None,
                "resume": self.resume,
            }
        )
        return found


class UsageError(DeployerError):
    """The call is wrong, whatever the files and the state say."""

    code = Code.USAGE
    exit_code = Exit.USAGE


class FileError(DeployerError):
    """A file can't be read into the model; `findings` has everything wrong with it."""

    code = Code.FILE_INVALID
    exit_code = Exit.FILE


class NotFoundError(DeployerError):
    """There is no such environment."""

    code = Code.ENVIRONMENT_NOT_FOUND
    exit_code = Exit.ENVIRONMENT


class ExistsError(DeployerError):
    """There is such an environment, or a file that contradicts the options."""

    code = Code.ENVIRONMENT_EXISTS
    exit_code = Exit.ENVIRONMENT


class NotAllowedError(DeployerError):
    """The state machine forbids it; the hint names the verb to run first."""

    code = Code.NOT_ALLOWED
    exit_code = Exit.NOT_ALLOWED


class LeaseError(DeployerError):
    """Another operation holds the environment's lease."""

    code = Code.LOCKED
    exit_code = Exit.LOCKED


class GateError(DeployerError):
    """A gate refused; nothing was touched."""

    code = Code.GATE_FAILED
    exit_code = Exit.GATE


class WorkspaceError(DeployerError):
    """The workspace or its store can't be used."""

    code = Code.STORE_UNUSABLE
    exit_code = Exit.STORE


# what a disk or a folder says when it can't be used; any other OSError is a bug of ours
_UNUSABLE = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO),
        *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EMFILE),
    }
)


def unusable(problem: BaseException) -> WorkspaceError | None:
    """The error for a disk that is full or read-only, or a folder in the way; else None."""
    if not isinstance(problem, OSError) or problem.errno not in _UNUSABLE:
        return None
    return WorkspaceError(
        f"{problem.filename or 'A file'} can't be used: {problem.strerror}",
        hint="Check that the disk is not full, and that this user may write there.",
    )


class StepError(DeployerError):
    """A step of a verb failed; the engine gives it the verb's exit code.

    Outside of a verb it is a look that failed, and hosts are what provision answers for.
    """

    code = Code.TOOL_FAILED
    exit_code = Exit.PROVISION


class InterruptedOperation(DeployerError):
    """SIGINT or SIGTERM ended the operation."""

    code = Code.INTERRUPTED
    exit_code = Exit.INTERRUPTED


def hosts_error(failed: list[StepError], tried: int) -> StepError:
    """One error for several hosts; with one host it is that host's own."""
    if len(failed) == 1 and tried == 1:
        return failed[0]
    hints = list(dict.fromkeys(error.hint for error in failed if error.hint))
    error = StepError(
        f"{len(failed)} of {tried} hosts failed: "
        + "; ".join(f"{error.host}: {error.message}" for error in failed),
        code=failed[0].code,
        hint=" ".join(hints),
        host=", ".join(error.host or "" for error in failed),
        output=[f"{error.host}: {line}" for error in failed for line in error.output],
        transient=all(error.transient for error in failed),
    )
    error.more = {
        "hosts": [error.host for error in failed],
        "failures": [
            {"host": e.host, "code": e.code.value, "message": e.message, "hint": e.hint or None}
            for e in failed
        ],
    }
    return error
