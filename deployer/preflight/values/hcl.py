"""Reads the literals of HCL and JSON: two notations of braces, one scanner.

It finds what is written out, and where; every expression is unknown. It judges no syntax:
Terraform and the JSON parser do that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from deployer.preflight.values.source import UNKNOWN, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 200

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\ufeff]+|\#[^\n]*|//[^\n]*|/\*.*?(?:\*/|\Z))
  | (?P<newline>\n)
  | <<(?P<indent>-?)(?P<heredoc>[^\W\d][\w-]*)[^\n]*\n
  | (?P<quote>")
  | (?P<number>-?\d[\w.]*)
  | (?P<name>[^\W\d][\w-]*)
  | (?P<other>[=!<>]=|=>|&&|\|\||.)
    """,
    re.VERBOSE | re.DOTALL,
)
# what stands in a string up to its end, an escape, or an expression
_PLAIN = re.compile(r'[^"\\$%\n]+')
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_POINT = re.compile(r"\\u([0-9A-Fa-f]{4})")
_EXPRESSION = re.compile(r"[^\"{}]+")
_OPEN, _CLOSE = "{[(", "}])"


class _Token(NamedTuple):
    kind: str
    text: str
    line: int
    last_line: int


class TooDeep(Exception):
    """Nested deeper than anything that people write; `line` is where."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def read(text: str) -> Iterator[Value]:
    """The literals of a file, in order. Raises `TooDeep`."""
    tokens = list(_tokens(text))
    stack: list[_Level] = [_Level((), "{")]
    words: list[_Token] = []  # a key that is awaited to be one, or a block's names
    for i, token in enumerate(tokens):
        level = stack[-1]
        following = tokens[i + 1] if i + 1 < len(tokens) else None
        if token.kind in ("string", "number", "name"):
            if _assigns(level, following):
                level.key = token.text
                level.value = False
            elif level.value or level.bracket == "[":
                if _alone(tokens, i, level) and token.kind != "name":
                    yield Value(
                        level.path(),
                        token.text,
                        token.line,
                        token.last_line,
                        plain=token.kind == "number",
                    )
            else:
                words.append(token)
        elif token.text in ("=", ":") and token.kind == "other":
            level.value = True
        elif token.kind == "newline":
            words.clear()
            if level.bracket == "{":
                level.value = False
        elif token.text == "," and token.kind == "other":
            level.value = False
            level.index += 1
        elif token.kind == "other" and token.text in _OPEN:
            names = tuple(word.text for word in words)
            words.clear()
            path = level.path() if level.value or level.bracket != "{" else (*level.keys, *names)
            stack.append(_Level(path, token.text))
            if len(stack) > MAX_DEPTH:
                raise TooDeep(token.line)
        elif token.kind == "other" and token.text in _CLOSE and len(stack) > 1:
            stack.pop()


class _Level:
    """What is open: a block, an object, a list, or the arguments of a call."""

    def __init__(self, keys: tuple[str | int, ...], bracket: str) -> None:
        self.keys = keys
        self.bracket = bracket
        self.key = ""
        self.value = False
        """Whether what comes is the value of `key`."""
        self.index = 0

    def path(self) -> tuple[str | int, ...]:
        if self.bracket == "[":
            return (*self.keys, self.index)
        return (*self.keys, self.key) if self.bracket == "{" else self.keys


def _assigns(level: _Level, following: _Token | None) -> bool:
    if following is None or level.bracket != "{" or level.value:
        return False
    return following.kind == "other" and following.text in ("=", ":")


def _alone(tokens: list[_Token], i: int, level: _Level) -> bool:
    """Whether a token is all of its value, and no part of an expression."""
    if level.bracket == "(":
        return False
    before = tokens[i - 1] if i else None
    j = i - 1
    while before is not None and before.kind == "newline":
        j -= 1
        before = tokens[j] if j >= 0 else None
    after = tokens[i + 1] if i + 1 < len(tokens) else None
    starts = before is not None and before.kind == "other" and before.text in "=:,["
    ends = after is None or after.kind == "newline" or after.text in (",", "]", "}")
    return starts and ends


def _tokens(text: str) -> Iterator[_Token]:
    position, line = 0, 1
    while position < len(text):
        found = _TOKEN.match(text, position)
        assert found
        kind = found.lastgroup or ""
        start = line
        position = found.end()
        if kind == "quote":
            value, position = _string(text, position)
            line += text.count("\n", found.end(), position)
            yield _Token("string", value, start, line)
        elif kind == "heredoc":
            value, position = _heredoc(text, position, found["heredoc"])
            line += text.count("\n", found.start(), position)
            yield _Token("string", value, start, line)
        else:
            line += found[0].count("\n")
            if kind != "space":
                yield _Token(kind, found[0], start, line)


def _string(text: str, position: int) -> tuple[str, int]:
    """A string's value and its end, from behind its opening quote."""
    parts = []
    while position < len(text):
        plain = _PLAIN.match(text, position)
        if plain:
            parts.append(plain[0])
            position = plain.end()
            continue
        here = text[position]
        if here == '"':
            return "".join(parts), position + 1
        if here == "\n":
            break  # never closed
        if here == "\\":
            point = _POINT.match(text, position)
            letter = text[position + 1 : position + 2]
            parts.append(chr(int(point[1], 16)) if point else _ESCAPES.get(letter, letter))
            position = point.end() if point else position + 2
        elif text.startswith("{", position + 1):
            parts.append(UNKNOWN)
            position = _interpolated(text, position + 2, len(text))
        else:
            doubled = text.startswith(here + "{", position + 1)
            parts.append(here + "{" if doubled else here)
            position += 3 if doubled else 1
    return "".join(parts), position


def _interpolated(text: str, position: int, last: int) -> int:
    """The end of an expression in a string, from behind its opening brace: `last` without one."""
    braces, quotes = [1], 0
    # braces[n] is how many are open inside the n-th string that the expression nests
    while position < last:
        plain = _EXPRESSION.match(text, position, last)
        if plain and not quotes:
            position = plain.end()
            continue
        here = text[position]
        position += 1
        if quotes and braces[-1] == 0:  # inside a string of the expression
            if here == '"':
                quotes -= 1
                braces.pop()
            elif here == "\\":
                position += 1
            elif here in "$%" and text.startswith("{", position):
                position += 1
                braces[-1] = 1
        elif here == '"':
            quotes += 1
            braces.append(0)
        elif here == "{":
            braces[-1] += 1
        elif here == "}":
            braces[-1] -= 1
            if braces == [0]:
                return position
    return last


def _heredoc(text: str, position: int, mark: str) -> tuple[str, int]:
    found = re.compile(rf"^[ \t]*{re.escape(mark)}[ \t\r]*$", re.MULTILINE).search(text, position)
    end, after = (found.start(), found.end()) if found else (len(text), len(text))
    parts = []
    while True:
        opens = re.compile(r"(?<![$%])[$%]\{").search(text, position, end)
        if not opens:
            break
        parts += [text[position : opens.start()], UNKNOWN]
        position = _interpolated(text, opens.end(), end)
    parts.append(text[position:end])
    return "".join(parts), after
