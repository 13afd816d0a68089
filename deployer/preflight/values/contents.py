"""Rules over one value: should it be there at all? Placeholders, and secrets in clear text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deployer.preflight.values.problem import Problem
from deployer.preflight.values.source import UNKNOWN, Source, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

# what is also a bad password, such as changeme, is that
_PLACEHOLDER = re.compile(
    r"<(?:CHANGE|REPLACE|INSERT|FILL|YOUR|Your|your)[ _-][A-Za-z0-9 _-]*>|<CHANGEME>|"
    r"(?:CHANGE|REPLACE)[_-]?ME|TODO|FIXME|TBD|"
    r"(?:YOUR|MY|INSERT)_[A-Z0-9_]*(?:KEY|TOKEN|PASSWORD|SECRET|DOMAIN|HOST|URL|ID)(?:_HERE)?|"
    r"(?:your|my)[_-][a-z0-9_-]*(?:key|token|password|secret)[_-]here"
)
_MARK = re.compile(r"<(?:CHANGE[ _-]?ME|REPLACE[ _-]?ME)>")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PROSE = frozenset({"name", "description", "msg", "title", "comment", "fail_msg", "success_msg"})

_UNMISTAKABLE = (
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    (
        "a private key",
        re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s*[A-Za-z0-9+/=:-]{16}"),
    ),
    ("a GitHub token", re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_\w{60,}\b")),
    ("a GitLab token", re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}\b")),
    ("a Slack token", re.compile(r"\bxox[abprs]-\d{6,}-[A-Za-z0-9-]{10,}\b")),
)
_BEGINNING = re.compile(r"BEGIN|AKIA|ASIA|gh[pousr]_|github_pat|glpat|xox|://")
_EXAMPLE = re.compile(r"EXAMPLE|[Xx]{6}")
_URL_PASSWORD = re.compile(
    rf"\b[a-z][a-z0-9+.-]{{0,20}}://[^\s/:@{UNKNOWN}]*:([^\s/:@]+)@(?=[\w\[])"
)
_SECRET_KEY = re.compile(
    r"(?:^|(?<!update)[_-])(?:password|passwd|passphrase|secret|api[_-]?key|api[_-]?token|access[_-]?token|"
    r"auth[_-]?token|secret[_-]?key|secret[_-]?access[_-]?key|private[_-]?key|client[_-]?secret)$",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# words of options and of types, empty values, and what names a secret instead of being it
_NO_SECRET = re.compile(
    r"(?i)(?:|~|null|none|true|false|yes|no|on|off|always|never|on_create|optional|required|omit|"
    r"string|str|secret|env|file|command|default|random|generate|auto|absent|present|unset|x+|\*+|"
    r"\.+|-+|_+|\W*)"
)
_REFERENCE = re.compile(r"[$/~.@<%{]|(?:[a-z][a-z0-9+-]*:)|arn:|ref\+|vault|\w+://|\w+\.\w+\.\w+")


def placeholder(value: Value, source: Source) -> Iterator[Problem]:
    """What somebody meant to fill in."""
    text = value.text.strip()
    if value.key in _PROSE or not text:
        return
    found = _PLACEHOLDER.fullmatch(text) or _MARK.search(text)
    if found:
        message = f"{found[0]!r} was never filled in"
        yield Problem("placeholder", message, "write the value itself", found[0])


def variable(value: Value, source: Source) -> Iterator[Problem]:
    """A shell's variable in the environment's own files, where no shell reads it."""
    for found in _VARIABLE.finditer(value.text):
        message = f"nothing fills {found[0]} here"
        fix = f"write {{{{ env.{found[1]} }}}}"
        yield Problem("variable", message, fix, found[0])


def secret(value: Value, source: Source) -> Iterator[Problem]:
    """A secret that everybody who has the file can read."""
    if not _BEGINNING.search(value.text):
        return
    for what, pattern in _UNMISTAKABLE:
        for found in pattern.finditer(value.text):
            if not _EXAMPLE.search(found[0]):
                word = found[0].splitlines()[0]
                yield Problem("secret", f"holds {what} in clear text", _fix(source), word, True)
    for found in _URL_PASSWORD.finditer(value.text):
        if _is_secret(found[1]):
            message = "a URL holds a password in clear text"
            yield Problem("password", message, _fix(source), found[0], True)


def password(value: Value, source: Source) -> Iterator[Problem]:
    """A value under a key that says that it is a secret."""
    if source.kind == "json" or not value.keys or isinstance(value.keys[-1], int):
        return  # the values of JSON under such keys are mostly texts for people
    key = value.key
    if source.kind == "hcl" and key == "default" and value.keys[0] == "variable":
        key = value.parent
    if not _SECRET_KEY.search(_CAMEL.sub("_", key)) or (value.plain and source.kind == "hcl"):
        return
    if _is_secret(value.text) and value.text.casefold() != key.casefold():
        message = f"{key} is in clear text"
        yield Problem("password", message, _fix(source), value.text.splitlines()[0], True)


def _is_secret(text: str) -> bool:
    if UNKNOWN in text or (" " in text.strip() and "\n" not in text):
        return False  # an expression, or a sentence
    plain = text.strip()
    return not (
        _NO_SECRET.fullmatch(plain) or _REFERENCE.match(plain) or _PLACEHOLDER.fullmatch(plain)
    )


def _fix(source: Source) -> str:
    if source.kind == "hcl":
        return "make it a sensitive variable without a default"
    if source.kind == "toml":
        return 'write a reference, such as { env = "NAME" }'
    return "refer to a variable or to Ansible Vault"
