"""Reads a file's values, by its format. Nothing is executed, expanded or built from them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from deployer.environment.toml import TomlFile
from deployer.errors import FileError
from deployer.preflight.values import hcl
from deployer.preflight.values.source import UNKNOWN, Source, Value, without_jinja

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KINDS = {
    ".yml": "yaml",
    ".yaml": "yaml",
    ".tf": "hcl",
    ".tfvars": "hcl",
    ".toml": "toml",
    ".json": "json",
    ".j2": "text",
}
"""How a file is read, by its name's ending."""

MAX_BYTES = 1_000_000
_TOO_DEEP = "nested too deeply to be read"
_COMMENT = ("#", "//", ";", "--", "/*", "*", "<!--", '"')
_PAIR = re.compile(r"""\s*(?:-\s+)?["']?([A-Za-z_][\w.-]*)["']?\s*(?:=|:(?=\s|$))\s*(.*)""")
_YAML = "tag:yaml.org,2002:"


def read(path: Path, shown: str) -> Source:
    """The file with its values, as far as it can be read; `problem` says how far that is.

    Raises `OSError`.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        source = Source(path, shown, "")
        line = content.count(b"\n", 0, problem.start) + 1
        source.problem = ("is not UTF-8, and its values were not looked at", line)
        return source
    source = Source(path, shown, text.replace("\r\n", "\n"))
    if "\0" in text:
        source.problem = ("is no text, and its values were not looked at", 1)
        return source
    source.kind = KINDS[path.suffix]
    found: list[Value] = []
    try:
        for value in _READERS[source.kind](source):
            found.append(value)
    except _Unreadable as problem:
        if "{{" in text or "{%" in text:
            # a template of such a file
            found = list(_text(source))
            source.kind = "text"
        else:
            source.problem = (str(problem), problem.line)
    source.values = found
    return source


class _Unreadable(Exception):
    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def _yaml(source: Source) -> Iterator[Value]:
    # events, not nodes: an alias stays one event, a tag builds nothing, no recursion
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    stack: list[_Open] = [_Open((), None)]
    try:
        for event in yaml.parse(source.text, Loader=loader):
            if isinstance(event, yaml.ScalarEvent):
                keys = stack[-1].take(event.value)
                if keys is None or (event.tag and not event.tag.startswith(_YAML)):
                    continue
                yield Value(
                    keys,
                    without_jinja(event.value),
                    event.start_mark.line + 1,
                    event.end_mark.line + (1 if event.end_mark.column else 0),
                    plain=event.implicit[0],
                )
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                keys = stack[-1].take(UNKNOWN)
                index = 0 if isinstance(event, yaml.SequenceStartEvent) else None
                stack.append(_Open((*stack[-1].keys, UNKNOWN) if keys is None else keys, index))
                if len(stack) > hcl.MAX_DEPTH:
                    raise _Unreadable(_TOO_DEEP, event.start_mark.line + 1)
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                stack.pop()
            elif isinstance(event, yaml.AliasEvent):
                stack[-1].take(UNKNOWN)
            elif isinstance(event, yaml.DocumentStartEvent):
                stack = [_Open((), None)]
                stack[0].key = ""
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        raise _Unreadable(
            f"is not valid YAML: {problem.problem or problem.context}", mark.line + 1 if mark else 1
        ) from None
    except yaml.YAMLError as problem:
        raise _Unreadable(f"is not valid YAML: {str(problem).splitlines()[0]}", 1) from None


class _Open:
    """A mapping (`index` is None) or a sequence whose end has not come yet."""

    def __init__(self, keys: tuple[str | int, ...], index: int | None) -> None:
        self.keys = keys
        self.index = index
        self.key: str | None = None

    def take(self, text: str) -> tuple[str | int, ...] | None:
        """The path of the node that comes next; None if it is a key, which is noted."""
        if self.index is not None:
            self.index += 1
            return (*self.keys, self.index - 1)
        if self.key is None:
            self.key = text
            return None
        keys = (*self.keys, self.key) if self.key else self.keys
        self.key = None
        return keys


def _hcl(source: Source) -> Iterator[Value]:
    try:
        yield from hcl.read(source.text)
    except hcl.TooDeep as problem:
        raise _Unreadable(_TOO_DEEP, problem.line) from None


def _json(source: Source) -> Iterator[Value]:
    try:
        json.loads(source.text)
    except json.JSONDecodeError as problem:
        raise _Unreadable(f"is not valid JSON: {problem.msg}", problem.lineno) from None
    except (RecursionError, ValueError):
        raise _Unreadable(_TOO_DEEP, 1) from None
    for value in _hcl(source):
        yield Value(value.keys, without_jinja(value.text), value.line, value.last_line)


def _toml(source: Source) -> Iterator[Value]:
    try:
        file = TomlFile(source.path, source.shown)
    except FileError as problem:
        first = problem.findings[0]
        raise _Unreadable(f"is {first.message}", first.line or 1) from None
    pending: list[tuple[tuple[str | int, ...], Any]] = [((), file.data)]
    found: list[Value] = []
    while pending:
        keys, value = pending.pop()
        if isinstance(value, dict):
            pending += [((*keys, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            pending += [((*keys, index), inner) for index, inner in enumerate(value)]
        elif not isinstance(value, bool) and isinstance(value, (str, int, float)):
            line = file.line(keys) or 1
            last = line + max(str(value).count("\n"), 0)
            plain = not isinstance(value, str)
            found.append(Value(keys, without_jinja(str(value)), line, last, plain=plain))
    yield from sorted(found, key=lambda value: value.line)


def _text(source: Source) -> Iterator[Value]:
    for number, line in enumerate(without_jinja(source.text).split("\n"), 1):
        if not line.strip() or line.lstrip().startswith(_COMMENT):
            continue
        pair = _PAIR.match(line)
        text = pair[2].rstrip().rstrip(",;") if pair else line.strip()
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
        yield Value(
            (pair[1],) if pair else (),
            text[1:-1] if quoted else text.partition(" #")[0].rstrip(),
            number,
            number,
            plain=not quoted,
        )


_READERS = {"yaml": _yaml, "hcl": _hcl, "json": _json, "toml": _toml, "text": _text}
