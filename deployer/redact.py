"""What must not be told, taken out of all that is told: by value, and by what it looks like.

The values are those that this process has resolved. They are remembered for all of it, because
what fails may tell them anywhere: in a tool's output, a service's log, a traceback.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "***"
SHORTEST = 5  # characters; what is shorter would be found in half of all words

_LOOKS: tuple[tuple[re.Pattern[str], str], ...] = (
    # RFC 7468, section 2; the end may have been cut off
    (
        re.compile(
            r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?(?:-----END \1PRIVATE KEY-----|\Z)", re.S
        ),
        MARK,
    ),
    # RFC 3986, section 3.2.1
    (re.compile(r"(://[^/\s:@'\"]*:)[^/\s@'\"]+(?=@)"), rf"\1{MARK}"),
    # RFC 9110, section 11.6.2, and RFC 6750, section 2.1
    (
        re.compile(r"(?i)(\bauthorization['\"]?\s*[:=]\s*['\"]?(?:\w+\s+)?)[\w.~+/=-]{8,}"),
        rf"\1{MARK}",
    ),
    (re.compile(r"(?i)(\bbearer\s+)[\w.~+/=-]{16,}"), rf"\1{MARK}"),
    # the ids of AWS's keys: AWS Identity and Access Management, "IAM identifiers"
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), MARK),
    # password=…, "api_key": "…"; no table or list, which is a reference, and nothing marked
    (
        re.compile(
            r"(?i)((?:password|passwd|passphrase|secret|token|api_?-?key|access_?-?key)['\"]?\s*"
            r"(?:=\s*(?![{\[*])|:\s*(?=['\"])))"
            r"(?:\"[^\"]+\"|'[^']+'|[^\s,;&'\"]+)"
        ),
        rf"\1{MARK}",
    ),
)
_FIRST = re.compile(
    r"(?i)private key|://|authorization|bearer|akia|asia|pass|secret|token|api_?-?key|access_?-?key"
)

_known: set[str] = set()
_values: re.Pattern[str] | None = None


def remember(value: str) -> None:
    """From now on take `value` out, each of its lines, and what it is encoded as."""
    global _values
    found = {
        form
        for one in {value, value.strip(), *(line.strip() for line in value.splitlines())}
        if len(one) >= SHORTEST
        for form in _forms(one)
    }
    if found <= _known:
        return
    _known.update(found)
    longest_first = sorted(_known, key=lambda form: (-len(form), form))
    _values = re.compile("|".join(map(re.escape, longest_first)))


def _forms(value: str) -> Iterator[str]:
    """A value as programs write it: plain, quoted, escaped, encoded."""
    plain = value.encode()
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield repr(value)[1:-1]
    yield shlex.quote(value).strip("'")
    yield plain.hex()
    for safe in ("", "/"):
        yield quote(value, safe=safe)
        yield quote_plus(value, safe=safe)
    for shift in range(3):  # inside of something longer it begins at one of three bits
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * shift + plain).decode()
            whole = len(plain) + shift
            # the characters that hold nothing but bits of the value
            inner = text[-(-shift * 8 // 6) : whole * 8 // 6]
            if len(inner) >= SHORTEST:
                yield inner


def text(said: str) -> str:
    """`said` without secrets."""
    if _values is not None:
        said = _values.sub(MARK, said)
    if _FIRST.search(said):
        for look, instead in _LOOKS:
            said = look.sub(instead, said)
    return said


def data(value: Any) -> Any:
    """A value of JSON without secrets: every text in it, its keys too."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {data(key): data(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [data(inner) for inner in value]
    return value
