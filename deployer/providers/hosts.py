"""What a host is, wherever it comes from: the user's file or the output of a module."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from deployer.environment.toml import suggest
from deployer.paths import valid_name

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTRACT = (
    'a list of {name, address, port = 22, user = "root", groups = [], id = null}; '
    "name and address must be there"
)
_SHORT = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?P<address>\[[0-9a-fA-F:.]+\]|[^@:\s]+)(?::(?P<port>[0-9]{1,5}))?"
)


def _address(value: str) -> str:
    # a name or an IP address, and never an option of ssh
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:%-]{0,252}|::[A-Za-z0-9.:%]*", value):
        raise ValueError(f"{value!r} is not a host name or an IP address")
    return value


def _user(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.@\\-]{0,63}", value):
        raise ValueError(f"{value!r} is not the name of a user")
    return value


def _jump(value: str) -> str:
    found = _SHORT.fullmatch(value)
    if not found:
        raise ValueError(f"{value!r} is not of the form user@address:port")
    _address(found["address"].strip("[]"))
    if found["user"]:
        _user(found["user"])
    if found["port"] and not 1 <= int(found["port"]) <= 65535:
        raise ValueError(f"{found['port']} is not a port")
    return value


class HostSpec(BaseModel):
    """One host: how it is called, and how to get in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, AfterValidator(valid_name)]
    address: Annotated[str, AfterValidator(_address)]
    port: int = Field(22, ge=1, le=65535)
    user: Annotated[str, AfterValidator(_user)] = "root"
    groups: list[Annotated[str, AfterValidator(valid_name)]] = Field(default_factory=list)
    key: str | None = None
    jump: Annotated[str, AfterValidator(_jump)] | None = None
    id: str | None = None


def short(text: str) -> dict[str, Any]:
    """A host given as `user@address:port`, with what it says."""
    found = _SHORT.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not of the form user@address:port")
    parts: dict[str, Any] = {"address": found["address"].strip("[]")}
    if found["user"]:
        parts["user"] = found["user"]
    if found["port"]:
        parts["port"] = int(found["port"])
    return parts


def parse(value: object, defaults: Mapping[str, Any] | None = None) -> list[HostSpec]:
    """Hosts out of a list: tables with all that the contract wants.

    With `defaults`, for what people write: an item may be `user@address:port`, the list a text
    with commas, and unnamed hosts get numbers. Raises `ValueError` that says everything wrong.
    """
    written = defaults is not None
    if isinstance(value, str) and written:
        value = [part for part in value.split(",") if part.strip()]
    if not isinstance(value, list):
        raise ValueError(f"must be a list of hosts, not {_kind(value)}")
    if not value:
        raise ValueError("must have at least one host")
    found: list[HostSpec] = []
    problems: list[str] = []
    for index, item in enumerate(value):
        try:
            given = short(item) if isinstance(item, str) and written else item
            if not isinstance(given, dict):
                form = "a table or user@address:port" if written else "an object"
                raise ValueError(f"must be {form}, not {_kind(given)}")
            said = {key: part for key, part in given.items() if part is not None}
            name = {"name": f"host-{index + 1}"} if written else {}
            found.append(HostSpec.model_validate({**name, **(defaults or {}), **said}))
        except ValidationError as problem:
            problems += [f"hosts[{index}]{_words(error)}" for error in problem.errors()]
        except ValueError as problem:
            problems.append(f"hosts[{index}]: {problem}")
    twice = sorted({h.name for h in found if [o.name for o in found].count(h.name) > 1})
    problems += [f"the name {name!r} is there twice" for name in twice]
    if problems:
        raise ValueError("; ".join(problems))
    return found


def _kind(value: object) -> str:
    if isinstance(value, str):
        return f"the text {value!r}"
    kinds = {bool: "true or false", dict: "an object", list: "a list", type(None): "null"}
    return kinds.get(type(value), "a number")


def _words(error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f".{key}: there is no such key ({suggest(key, list(HostSpec.model_fields))})"
    if error["type"] == "missing":
        return f".{key}: is missing"
    if key == "port":
        return f".{key}: must be a port number, 1 to 65535, not {_kind(error['input'])}"
    return f".{key}: {str(error['msg']).removeprefix('Value error, ')}"
