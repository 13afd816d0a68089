"""Where configuration comes from: files, variables and options; later ones win."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.environment import secrets
from deployer.environment.interpolation import is_template
from deployer.environment.models import EnvironmentFile
from deployer.environment.settings import Given
from deployer.environment.toml import MAX_DEPTH, TomlFile, dotted, file_error, suggest
from deployer.errors import Finding, UsageError
from deployer.paths import NAME, home

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from deployer.paths import Workspace

COMMAND_LINE = "--set"
VARIABLES = "DEPLOYER_SET_"
"""What the variables begin with that are `--set` by another name."""
Keys = tuple[str | int, ...]


@dataclass(frozen=True)
class Layer:
    """One source of configuration."""

    data: dict[str, Any]
    kind: str
    """What it is: `user config`, `profile`, `variable`, ..."""
    shown: str
    """Its name for people: a file, a variable, an option."""
    file: TomlFile | None = None

    def has(self, keys: Sequence[str | int]) -> bool:
        """Whether it says something of the key at the path `keys`."""
        try:
            self.value(keys)
        except (TypeError, LookupError):
            return False
        return True

    def value(self, keys: Sequence[str | int]) -> Any:
        """What it says of a key, as it is written. Raises `LookupError` or `TypeError`."""
        found: Any = self.data
        for key in keys:
            found = found[key]
        return found

    def line(self, keys: Sequence[str | int]) -> int | None:
        """The line of a key, from 1, where this is a file."""
        return self.file.line(keys) if self.file else None

    def place(self, keys: Sequence[str | int]) -> str:
        """Where a key stands, for people: `environments/shop.toml:7`, `--set`."""
        line = self.line(keys)
        return f"{self.shown}:{line}" if line else self.shown


class Layers:
    """All sources, later ones win; complaints name the one that a value comes from."""

    def __init__(self, layers: list[Layer], profile: str | None = None) -> None:
        self.layers = layers
        self.profile = profile
        """The profile's path, as it is recorded; None without one."""
        self.findings: list[Finding] = []

    def merged(self) -> dict[str, Any]:
        """What all say together, with a complaint where two contradict each other in type."""
        result: dict[str, Any] = {}
        for number, layer in enumerate(self.layers):
            result = self._merge(result, layer.data, number, ())
        return result

    def _merge(
        self, below: dict[str, Any], over: dict[str, Any], number: int, keys: Keys
    ) -> dict[str, Any]:
        result = dict(below)
        for key, value in over.items():
            known, at = result.get(key), (*keys, key)
            if known is not None and at[0] != "hooks":  # text and list are the same there
                self._compare(known, value, number, at)
            references = secrets.is_reference(known) and secrets.is_reference(value)
            if isinstance(known, dict) and isinstance(value, dict) and not references:
                result[key] = self._merge(known, value, number, at)
            else:
                result[key] = value
        return result

    def _compare(self, known: Any, value: Any, number: int, keys: Keys) -> None:
        before, now = _kind(known), _kind(value)
        if before == now or ("" in (before, now) and _TABLE not in (before, now)):
            return
        below = next(la for la in reversed(self.layers[:number]) if la.has(keys))
        layer = self.layers[number]
        message = (
            f"is {now or 'text'} here and {before or 'text'} in {below.place(keys)}, "
            "which it would replace"
        )
        fix = "make both the same type"
        self.complain("types-differ", keys, message, fix=fix, layer=layer)

    def complain(self, rule: str, keys: Sequence[str | int], message: str, **more: Any) -> None:
        """Note a complaint, to refuse with all of them."""
        self.findings.append(self.finding(rule, keys, message, **more))

    def finding(
        self,
        rule: str,
        keys: Sequence[str | int],
        message: str,
        *,
        fix: str = "",
        value: Any = None,
        layer: Layer | None = None,
    ) -> Finding:
        """A complaint about a key, which names the layer that its value comes from."""
        layer = (
            layer
            or next(self.holding(keys), None)
            or next(
                (la for la in reversed(self.layers) if la.kind == "environment file"),
                self.layers[-1],
            )
        )
        if layer.file:
            return layer.file.finding(rule, keys, message, fix=fix, value=value)
        # an option of its own has the key for its name
        key = "" if layer.kind == "option" else f"{dotted(keys)}: "
        value = None if value is None else str(value)[:200]
        return Finding(rule, key + message, fix=fix, file=layer.shown, value=value)

    def holding(self, keys: Sequence[str | int]) -> Iterator[Layer]:
        """The layers that say something of a key, the one that wins first."""
        return (layer for layer in reversed(self.layers) if layer.has(keys))

    def refuse(self) -> None:
        """Raise `FileError` with every complaint, if there is any."""
        if self.findings:
            raise file_error(self.findings)


def layers_of(
    workspace: Workspace,
    file: TomlFile,
    overrides: Sequence[str] = (),
    flags: Mapping[str, str] | None = None,
    profile: str | None = None,
) -> Layers:
    """Every source of an environment's configuration, in their order.

    `file` is the environment file. `flags` are keys that the command line has options of their
    own for, such as `--app`: they are to be written into that file. `profile` is a path or a
    name. Raises `FileError` and `UsageError`.
    """
    found = []
    for kind, path in (
        ("user config", user_config()),
        ("workspace", workspace.root / "deployer.toml"),
    ):
        if os.path.lexists(path):
            found.append(_read(workspace, kind, path))
    found.append(Layer(file.data, "environment file", file.shown, file))
    for key, value in (flags or {}).items():
        found.append(Layer({key: value}, "option", f"--{key}"))
    recorded = None
    if profile is not None:
        path = _profile(workspace, profile)
        found.append(_read(workspace, "profile", path))
        path = path.resolve()
        inside = path.is_relative_to(workspace.root)
        recorded = str(path.relative_to(workspace.root) if inside else path)
    found += _variables()
    if overrides:
        found.append(Layer(parse_overrides(overrides), COMMAND_LINE, COMMAND_LINE))
    return Layers(found, recorded)


def user_config() -> Path:
    """The file of the user's own defaults; it need not be there."""
    # a relative path is to be ignored: XDG Base Directory Specification
    named = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(named) if named.startswith("/") else Path(home()) / ".config"
    return base / "deployer" / "config.toml"


def _read(workspace: Workspace, kind: str, path: Path) -> Layer:
    file = TomlFile(path, workspace.shown(path))
    return Layer(file.data, kind, file.shown, file)


def _profile(workspace: Workspace, text: str) -> Path:
    """The file of a profile: `profiles/NAME.toml` for a name, else a path from here."""
    if not text or "\0" in text:
        raise UsageError("--config names no file", hint="For example: --config production")
    if not NAME.fullmatch(text):
        return Path.cwd() / text
    folder = workspace.root / "profiles"
    path = folder / f"{text}.toml"
    if not os.path.lexists(path):
        there = [found.stem for found in folder.glob("*.toml")]
        raise file_error(
            [
                Finding(
                    "unknown-profile",
                    f"there is no profile {text!r}: {workspace.shown(path)} does not exist",
                    fix=suggest(text, there) or f"for a file of another name write ./{text}",
                )
            ]
        )
    return path


def _variables() -> list[Layer]:
    """A layer for each `DEPLOYER_SET_…`; `__` stands for a dot, and case doesn't count."""
    found: dict[Keys, Layer] = {}
    for name in sorted(os.environ):
        if not name.startswith(VARIABLES):
            continue
        words = name.removeprefix(VARIABLES).lower().split("__")
        keys = _keys(words)
        if keys is None:
            raise UsageError(
                f"The variable {name} names no key",
                hint=f"For example: {VARIABLES}SETTINGS__PORT=8080",
            )
        if keys in found:
            raise UsageError(
                f"The variables {found[keys].shown} and {name} both set {dotted(keys)}",
                hint=f"Unset one of them: unset {name}",
            )
        data: dict[str, Any] = {}
        _put(data, keys, os.environ[name])
        found[keys] = Layer(data, "variable", name)
    return list(found.values())


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """`--set` values as nested tables.

    A key that is none of the environment file's own is a setting: `port=80` is
    `settings.port=80`. Raises `UsageError`.
    """
    result: dict[str, Any] = {}
    for override in overrides:
        text, equals, value = override.partition("=")
        keys = _keys(text.strip().split("."))
        if not equals or keys is None:
            raise UsageError(
                f"--set {override!r} is not of the form key=value",
                hint="For example: --set settings.port=8080",
            )
        try:
            _put(result, keys, value)
        except TypeError:
            raise UsageError(f"--set {override!r} contradicts another --set") from None
    return result


def full_key(text: str) -> Keys:
    """The path of a key as `--set` and `config explain` take it. Raises `UsageError`."""
    keys = _keys(text.split("."))
    if keys is None:
        raise UsageError(f"{text!r} is not a key", hint="For example: settings.port")
    return keys


def _keys(words: Sequence[str]) -> Keys | None:
    if not all(words) or len(words) > MAX_DEPTH:
        return None
    return tuple(words) if words[0] in EnvironmentFile.model_fields else ("settings", *words)


def _put(table: dict[str, Any], keys: Keys, value: str) -> None:
    for key in keys[:-1]:
        table = table.setdefault(str(key), {})
        if not isinstance(table, dict):
            raise TypeError
    table[str(keys[-1])] = Given(value)


_TABLE = "a table"


def _kind(value: object) -> str:
    """What a value is, in words; empty for text that becomes what is wanted."""
    if isinstance(value, Given) or (isinstance(value, str) and is_template(value)):
        return ""
    # a bool is an int, so it comes first
    kinds = ((dict, _TABLE), (list, "a list"), (bool, "true or false"), (str, "text"))
    for kind, words in kinds:
        if isinstance(value, kind):
            return words
    return "a number" if isinstance(value, int | float) else "a date or a time"
