"""Reading TOML for people: every complaint has a file, a line and a remedy."""

from __future__ import annotations

import difflib
import re
import stat
import tomllib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from deployer.errors import FileError, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pydantic import ValidationError

MAX_BYTES = 1_000_000
MAX_DEPTH = 100
"""Tables and lists in each other, more than any file has and fewer than Python can follow."""
_HEADER = re.compile(r"^\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(
    r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_YAML = re.compile(r"\s*(- |---|[\w.-]+\s*:(\s|$))")
# pydantic's words are Python's; a file has TOML's
_WRONG_TYPE = {
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "model_type": "must be a table",
    "string_type": "must be text",
}
_ENDLESS_KEY = re.compile(r"""(?<![\w"'-])(?:[\w"'-]+[ \t]*\.[ \t]*){100}""")
_MAX_HEADER = 1_000  # a line of a long list may begin like one
_MANY = 20  # more names than that help nobody
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


class TomlFile:
    """A TOML file that was read: its values, and where each key stands."""

    def __init__(self, path: Path, shown: str) -> None:
        """Read `path`; complaints call it `shown`. Raises `FileError`."""
        self.path = path
        self.shown = shown
        self.text = _read(path, shown)
        if _ENDLESS_KEY.search(self.text):
            # tomllib takes minutes for such a key
            raise file_error([Finding("toml", "nested too deeply to be read", file=shown)])
        try:
            self.data = tomllib.loads(self.text)
            _refuse_deep(self.data)
        except tomllib.TOMLDecodeError as problem:
            found = re.search(
                r"^(.*?) \(at (?:line (\d+), column \d+|end of document)\)$", str(problem)
            )
            message = found[1] if found else str(problem)
            line = int(found[2]) if found and found[2] else self.text.count("\n") + 1
            fix = "TOML is written key = value" if _YAML.match(_line(self.text, line)) else ""
            raise file_error(
                [Finding("toml", f"not valid TOML: {message}", fix=fix, file=shown, line=line)]
            ) from None
        except RecursionError:
            raise file_error(
                [Finding("toml", "nested too deeply to be read", file=shown)]
            ) from None
        if "\\u0000" in self.text or "\\U00000000" in self.text:
            message = "has a NUL in it, which no program can be given"
            found_nul = [self.finding("value", keys, message) for keys in _with_nul(self.data)]
            if found_nul:
                raise file_error(found_nul)

    def line(self, keys: Sequence[str | int]) -> int | None:
        """The line, from 1, on which the key at the path `keys` stands; the nearest parent's
        where it has none of its own, None if nothing of it is found."""
        lines = self._lines
        wanted = tuple(keys)
        while wanted:
            if wanted in lines:
                return lines[wanted]
            wanted = wanted[:-1]
        return None

    @cached_property
    def _lines(self) -> dict[tuple[str | int, ...], int]:
        found: dict[tuple[str | int, ...], int] = {}
        counts: dict[tuple[str | int, ...], int] = {}
        prefix: tuple[str | int, ...] = ()
        inside: str | None = None  # the quotes of a multi-line string
        for number, line in enumerate(self.text.splitlines(), 1):
            if inside:
                if line.count(inside) % 2:
                    inside = None
                continue
            header = _HEADER.match(line) if len(line) < _MAX_HEADER else None
            key = _KEY.match(line)
            if header and not key:
                parts = tuple(_bare(p) for p in _PART.findall(header[2]))
                prefix = self._resolve(parts[:-1], counts)
                if header[1] == "[[":
                    array = (*prefix, parts[-1])
                    counts[array] = counts.get(array, -1) + 1
                    found.setdefault(array, number)
                    prefix = (*array, counts[array])
                else:
                    prefix = self._resolve(parts, counts)
                found.setdefault(prefix, number)
            elif key:
                path = prefix
                for part in _PART.findall(key[1]):
                    path = (*path, _bare(part))
                    found.setdefault(path, number)
                for inner in re.findall(r"""[{,]\s*([A-Za-z0-9_-]+)\s*=""", line[key.end() :]):
                    found.setdefault((*path, inner), number)
            for quotes in ('"""', "'''"):
                if line.count(quotes) % 2:
                    inside = quotes
        return found

    @staticmethod
    def _resolve(
        parts: Iterable[str], counts: dict[tuple[str | int, ...], int]
    ) -> tuple[str | int, ...]:
        path: tuple[str | int, ...] = ()
        for part in parts:
            path = (*path, part)
            if path in counts:
                path = (*path, counts[path])
        return path

    def finding(
        self,
        rule: str,
        keys: Sequence[str | int],
        message: str,
        *,
        fix: str = "",
        value: Any = None,
    ) -> Finding:
        """A complaint about the key at the path `keys`."""
        keys = self._written(keys)
        return Finding(
            rule,
            f"{dotted(keys)}: {message}" if keys else message,
            fix=fix,
            file=self.shown,
            line=self.line(keys),
            value=None if value is None else str(value)[:200],
        )

    def _written(self, keys: Sequence[str | int]) -> list[str | int]:
        """`keys` without the number of what the file has as one and the model as a list of one."""
        found: Any = self.data
        written: list[str | int] = []
        for key in keys:
            if isinstance(key, int) and isinstance(found, dict):
                continue
            written.append(key)
            try:
                found = found[key]
            except (TypeError, LookupError):
                found = None
        return written

    def findings(self, problem: ValidationError, known: type[Any]) -> list[Finding]:
        """What pydantic has to complain about this file, whose model is `known`."""
        return [self._finding(error, known) for error in problem.errors(include_url=False)]

    def _finding(self, error: Any, known: type[Any]) -> Finding:
        keys = tuple(part for part in error["loc"] if not is_branch(part))
        if error["type"] == "extra_forbidden":
            names = _field_names(known, keys[:-1])
            return self.finding(
                "unknown-key", keys, "there is no such key", fix=suggest(str(keys[-1]), names)
            )
        if error["type"] == "missing":
            return self.finding("missing-key", keys, "is missing")
        if error["type"] in _WRONG_TYPE:
            return self.finding("value", keys, _WRONG_TYPE[error["type"]], value=error["input"])
        message = str(error["msg"]).removeprefix("Value error, ")
        return self.finding("value", keys, message[0].lower() + message[1:], value=error["input"])


def _line(text: str, number: int) -> str:
    return (text.split("\n", number)[number - 1 : number] or [""])[0]


def _refuse_deep(data: dict[str, Any]) -> None:
    """Raise `RecursionError` for what is nested deeper than anything below could follow."""
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        inner = (v.values() if isinstance(v, dict) else v for v in level)
        level = [v for values in inner for v in values if isinstance(v, dict | list)]
        if not level:
            return
    raise RecursionError


def _with_nul(value: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where in `value` a NUL is, which TOML may have as an escape."""
    if isinstance(value, str) and "\0" in value:
        yield keys
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(key, str) and "\0" in key:
                yield keys
            yield from _with_nul(inner, (*keys, key))


def _bare(part: str) -> str:
    return part.strip("\"'")


def is_branch(part: object) -> bool:
    """Whether a part of pydantic's location is no key: a member of a union, or `[key]`."""
    return isinstance(part, str) and ("[" in part or part in ("str", "int", "float", "bool"))


def _field_names(model: type[Any], keys: Sequence[str | int]) -> list[str]:
    for key in keys:
        fields = getattr(model, "model_fields", {})
        if isinstance(key, int):
            continue
        if key not in fields:
            return []
        model = _model_in(fields[key].annotation) or model
    return list(getattr(model, "model_fields", {}))


def _model_in(annotation: Any) -> type[Any] | None:
    if hasattr(annotation, "model_fields"):
        return annotation  # type: ignore[no-any-return]
    found = (_model_in(argument) for argument in getattr(annotation, "__args__", ()))
    return next((model for model in found if model), None)


def suggest(word: str, known: Iterable[str]) -> str:
    """“did you mean …?”, or what there is, or nothing."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, 1, 0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(names)}" if 0 < len(names) <= _MANY else ""


def dotted(keys: Sequence[str | int]) -> str:
    """A path of keys as people write it: `services[0].command`."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def file_error(findings: list[Finding], hint: str = "") -> FileError:
    """One error that names everything wrong with a file, or with several."""
    first = findings[0]
    message = str(first) if len(findings) == 1 else f"{len(findings)} things are wrong"
    return FileError(message, hint=hint, findings=findings)


def _read(path: Path, shown: str) -> str:
    try:
        if path.is_dir():
            raise file_error([Finding("file", "is a folder, not a file", file=shown)])
        if not stat.S_ISREG(path.stat().st_mode):
            # a pipe would be waited for, for ever
            raise file_error([Finding("file", "is not a regular file", file=shown)])
        if path.stat().st_size > MAX_BYTES:
            raise file_error(
                [Finding("file", f"is larger than {MAX_BYTES // 1_000_000} MB", file=shown)]
            )
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        message = "is a link to nowhere" if path.is_symlink() else "does not exist"
        raise file_error([Finding("file", message, file=shown)]) from None
    except UnicodeDecodeError as problem:
        raise file_error(
            [
                Finding(
                    "encoding",
                    f"is not UTF-8: byte {problem.object[problem.start]:#04x} "
                    f"at position {problem.start}",
                    fix="save it as UTF-8",
                    file=shown,
                    line=problem.object.count(b"\n", 0, problem.start) + 1,
                )
            ]
        ) from None
    except OSError as problem:
        raise file_error(
            [Finding("file", f"can't be read: {problem.strerror or problem}", file=shown)]
        ) from None
