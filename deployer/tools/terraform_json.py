"""What Terraform says with `-json`: one message a line, made into reports, and into an error."""

from __future__ import annotations

import json
import re
import shlex
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deployer.errors import Finding, StepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

OUTPUT_LINES = 20
# verbs of Terraform in words: while it happens, when it is done, when it is planned or failed
_WORDS = {
    "create": ("creating", "created", "be created"),
    "update": ("updating", "updated", "be updated"),
    "delete": ("deleting", "deleted", "be deleted"),
    "replace": ("replacing", "replaced", "be replaced"),
    "read": ("reading", "read", "be read"),
}
CHANGING = frozenset({"create", "update", "delete", "replace"})
_LOCK = re.compile(r"^\s*(ID|Path|Operation|Who|Version|Created):[ \t]*(.*)$", re.MULTILINE)
_OTHER_LOCK = re.compile(r"already locked: ID=(\S+)")
_PLACE = re.compile(r"^  on (.+) line (\d+)\b.*\n(?:   .*\n|\s*\d+:.*\n)*", re.MULTILINE)


@dataclass(frozen=True)
class ResourceReport:
    """Something that happened to a resource, or was said of it; `outcome` as in `StepProgress`.

    `action` is there when something was really created, updated or deleted; a replacement
    reports a deletion and a creation.
    """

    title: str
    outcome: str
    seconds: float | None = None
    resource: str | None = None
    action: str | None = None
    kind: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class Change:
    """A resource that is not as its module wants it; `action` create, update, delete, replace.

    `details`: what an update or a replacement changes of it, one attribute a line.
    """

    address: str
    action: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnostic:
    """An error or a warning of Terraform's."""

    summary: str
    detail: str = ""
    address: str | None = None
    file: str | None = None
    line: int | None = None

    @classmethod
    def of(cls, said: dict[str, Any]) -> Diagnostic:
        """The diagnostic in a message's `diagnostic`, or in the list of `validate -json`."""
        place = said.get("range") or {}
        return cls(
            " ".join(str(said.get("summary") or "").split()),
            str(said.get("detail") or ""),
            said.get("address"),
            place.get("filename"),
            (place.get("start") or {}).get("line"),
        )

    def __str__(self) -> str:
        """The resource it is about, the summary, and the detail's first line."""
        lines = [line.strip() for line in self.detail.strip().splitlines()]
        if self.summary == "local-exec provisioner error" and "Output: " in self.detail:
            # what the program said last is the reason; its command line is in the output
            said = self.detail.partition("Output: ")[2].strip().splitlines() or lines
            return _shortened(": ".join(part for part in (self.address, said[-1]) if part))
        # a line that ends so says nothing without the next one
        detail = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
        text = ": ".join(part for part in (self.address, self.summary, detail) if part)
        return _shortened(text)

    def finding(self) -> Finding:
        """The same as a finding, with its place."""
        return Finding("terraform", str(self), file=self.file, line=self.line)


class Stream:
    """Reads the lines of one command as they come, reports, and keeps what an error needs."""

    def __init__(
        self,
        report: Callable[[ResourceReport], None],
        warned: set[Diagnostic],
        *,
        planning: bool = False,
        plain: bool = False,
    ) -> None:
        self.changes: list[Change] = []
        self.errors: list[Diagnostic] = []
        self.output: deque[str] = deque(maxlen=200)
        self.complaints: deque[str] = deque(maxlen=200)
        self._report = report
        # an apply repeats the plan; only when planning it is news
        self._planning = planning
        self._plain = plain
        self._ids: dict[str, str] = {}
        self._warned = warned

    def line(self, line: str) -> None:
        """Take a line of standard output."""
        message = None if self._plain else _object(line)
        if message is None:
            self.said(line)
        else:
            self._message(message)

    def said(self, line: str) -> None:
        """Keep a line that is no message: it may explain an error."""
        self.output.append(line.rstrip())

    def complained(self, line: str) -> None:
        """Take a line of standard error; those of standard output may come in between."""
        self.said(line)
        self.complaints.append(line.rstrip())

    def _message(self, message: dict[str, Any]) -> None:
        kind = str(message.get("type") or "")
        if kind in ("version", "refresh_start", "apply_progress"):
            return
        if kind in ("planned_change", "resource_drift") and not self._planning:
            return
        if kind == "diagnostic":
            self.diagnostic(message.get("diagnostic") or {})
            return
        for line in str(message.get("@message") or "").splitlines():
            self.said(line)
        change, hook = message.get("change") or {}, message.get("hook") or {}
        if kind == "planned_change":
            self._planned(change)
        elif kind == "resource_drift":
            self._drifted(change)
        elif hook:
            self._happened(kind, hook)

    def _planned(self, change: dict[str, Any]) -> None:
        address, action = _address(change), str(change.get("action"))
        if action in CHANGING:
            self.changes.append(Change(address, action))
            self._tell(f"{address} will {_WORDS[action][2]}", "note", change)

    def _drifted(self, change: dict[str, Any]) -> None:
        what = "deleted" if change.get("action") == "delete" else "changed"
        self._tell(f"{_address(change)} was {what} outside of Terraform", "note", change)

    def _happened(self, kind: str, hook: dict[str, Any]) -> None:
        address, action = _address(hook), str(hook.get("action") or "")
        doing, done, do = _WORDS.get(action, (action, action, action))
        if hook.get("id_value"):
            self._ids[address] = str(hook["id_value"])
        match kind:
            case "refresh_complete":
                self._tell(f"{address} looked at", "ok", hook)
            case "apply_start":
                self._tell(f"{address}: {doing}", "started", hook)
            case "apply_complete" if action in CHANGING:
                self._tell(f"{address} {done}", "changed", hook, action)
                if action == "delete":
                    self._ids.pop(address, None)
            case "apply_complete":
                self._tell(f"{address} {done}", "ok", hook)
            case "apply_errored":
                self._tell(f"{address} could not {do}", "failed", hook)
            case "provision_progress":
                said = str(hook.get("output") or "")
                # what is executed is the module's business, what it says is the user's
                for line in said.splitlines() if not said.startswith("Executing: [") else ():
                    self._tell(f"{address}: {line}", "note", hook)

    def _tell(
        self, title: str, outcome: str, about: dict[str, Any], action: str | None = None
    ) -> None:
        address = _address(about)
        self._report(
            ResourceReport(
                title,
                outcome,
                about.get("elapsed_seconds"),
                address,
                action,
                (about.get("resource") or {}).get("resource_type"),
                # the end of a deletion doesn't say what was deleted, its start did
                self._ids.get(address),
            )
        )

    def diagnostic(self, said: dict[str, Any]) -> None:
        """Take an error, or report a warning that was not reported yet."""
        diagnostic = Diagnostic.of(said)
        if diagnostic.summary == "Deprecated flag: -state":
            return  # the state's place is not the user's doing
        if not self._plain:
            kind = str(said.get("severity") or "").capitalize()
            for line in (f"{kind}: {diagnostic.summary}", *diagnostic.detail.splitlines()):
                self.said(line)
        if said.get("severity") == "error":
            if diagnostic not in self.errors:
                self.errors.append(diagnostic)
        elif diagnostic not in self._warned:
            self._warned.add(diagnostic)
            self._report(
                ResourceReport(str(diagnostic.finding()), "warning", resource=diagnostic.address)
            )

    def error(self, otherwise: str, hint: str = "") -> StepError:
        """The error that the command ends with; `otherwise` where Terraform named no reason."""
        # "execution halted" and the like only say that there was another one
        named = [e for e in self.errors if e.detail or e.file or e.address] or self.errors
        if not named:
            return StepError(otherwise, hint=hint, output=self.last())
        more = f" (and {len(named) - 1} more)" if len(named) > 1 else ""
        return StepError(
            str(named[0].finding()) + more,
            hint=hint,
            output=self.last(),
            findings=[diagnostic.finding() for diagnostic in named],
        )

    def lock(self) -> dict[str, str] | None:
        """What Terraform says of the lock that somebody else has on the state."""
        for diagnostic in self.errors:
            why, found, info = diagnostic.detail.partition("Lock Info:")
            if not found:
                continue
            # the HTTP backend describes the lock that it did not get; of the other it has this
            if other := _OTHER_LOCK.search(why):
                return {"id": other[1]}
            return {name.lower(): value.strip() for name, value in _LOCK.findall(info)}
        return None

    def last(self) -> list[str]:
        """The last lines of the output."""
        return [line for line in self.output if line.strip()][-OUTPUT_LINES:]


def _shortened(text: str) -> str:
    return text if len(text) <= 400 else text[:399] + "…"


def locked(lock: dict[str, str], output: list[str], unlock: list[str] | None) -> StepError:
    """The error for a state that is locked; `unlock` is the command that breaks the lock."""
    if unlock is None:
        hint = "Wait until it is done. The lock ends with the process that holds it."
    else:
        hint = f"Wait until it is done. If you are sure that it ended: {shown(unlock)}"
    who = f" by {lock['who']}" if lock.get("who") else ""
    since = f" since {lock['created']}" if lock.get("created") else ""
    return StepError(
        f"The Terraform state is locked{who}{since} (lock {lock.get('id')})",
        hint=hint,
        output=output,
        details={"lock": lock},
    )


def shown(command: list[str]) -> str:
    """A command for a person to paste: an argument `&&` and assignments stay what they are."""
    return " ".join(word if word == "&&" else _quoted(word) for word in command)


def _quoted(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{name}={shlex.quote(value)}" if equals and name.isidentifier() else shlex.quote(word)


def printed(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The errors in what a command without `-json` prints, shaped as `-json` has them."""
    found = []
    for block in re.split(r"^Error: ", "\n".join(lines), flags=re.MULTILINE)[1:]:
        summary, _, rest = block.partition("\n\n")
        said: dict[str, Any] = {"severity": "error", "summary": summary}
        if place := _PLACE.search(rest):
            said["range"] = {"filename": place[1], "start": {"line": int(place[2])}}
            rest = rest.replace(place[0], "")
        # each paragraph was broken to fit a terminal
        paragraphs = (" ".join(part.split()) for part in rest.strip().split("\n\n"))
        found.append({**said, "detail": "\n".join(paragraphs)})
    # it opens with the remark that something is wrong, and then says what
    return [said for said in found if "range" in said] or found


def plan_outputs(planned: dict[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """Outputs in what `show -json` says of a plan: the values known, the names not fully known."""
    values, unknown = {}, set()
    for name, change in (planned.get("output_changes") or {}).items():
        if change.get("actions") == ["delete"]:
            continue
        if _any(change.get("after_unknown")):
            unknown.add(name)
        if change.get("after_unknown") is not True:
            values[name] = change.get("after")
    return values, frozenset(unknown)


def plan_changes(planned: dict[str, Any], changes: Iterable[Change]) -> list[Change]:
    """`changes` with their details, from what `show -json` says of a plan.

    What Terraform calls sensitive stays hidden.
    """
    known = {one.get("address"): one.get("change") or {} for one in _resources(planned)}
    return [replace(one, details=tuple(_details(known.get(one.address, {})))) for one in changes]


def _resources(planned: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in planned.get("resource_changes") or () if isinstance(one, dict)]


def _details(change: dict[str, Any]) -> Iterator[str]:
    before, after = change.get("before"), change.get("after")
    if not isinstance(before, dict) or not isinstance(after, dict):
        return
    unknown = change.get("after_unknown") or {}
    hidden = [change.get("before_sensitive") or {}, change.get("after_sensitive") or {}]
    forcing = {path[0] for path in change.get("replace_paths") or () if path}
    for name in sorted({*before, *after, *unknown}):
        is_unknown = _any(unknown.get(name))
        # what a new one is given, its machine's id say, is no reason for it
        given = is_unknown and forcing and name not in forcing
        if given or (before.get(name) == after.get(name) and not is_unknown):
            continue
        if any(
            part is True or (isinstance(part, dict) and _any(part.get(name))) for part in hidden
        ):
            yield f"{name}: (sensitive)"
            continue
        new = "(known after apply)" if is_unknown else _short(after.get(name))
        reason = " (this replaces it)" if name in forcing else ""
        yield f"{name}: {_short(before.get(name))} → {new}{reason}"


def _short(value: Any) -> str:
    return _shortened(json.dumps(value, ensure_ascii=False))


def state_outputs(file: Path) -> dict[str, Any] | None:
    """Outputs in a state file of ours, or None if it is not one that can be read so."""
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        if state["version"] != 4:
            return None
        return {name: output["value"] for name, output in state["outputs"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _any(unknown: Any) -> bool:
    if isinstance(unknown, dict):
        return any(map(_any, unknown.values()))
    if isinstance(unknown, list):
        return any(map(_any, unknown))
    return bool(unknown)


def _address(about: dict[str, Any]) -> str:
    return str((about.get("resource") or {}).get("addr") or "")


def _object(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
