"""Where each value of a configuration comes from, and what it means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployer import schemas
from deployer.environment import secrets
from deployer.environment.interpolation import is_template
from deployer.environment.layers import full_key
from deployer.environment.models import EnvironmentFile
from deployer.environment.toml import dotted, suggest
from deployer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.environment.layers import Keys
    from deployer.environment.load import Loaded
    from deployer.environment.settings import Setting

DEFAULT = "default"


@dataclass(frozen=True)
class Source:
    """What one layer says of a key."""

    layer: str
    """`user config`, `workspace`, `environment file`, `profile`, `variable`, `--set`, `default`."""
    place: str
    """The file, variable or option, for people; empty for a default of deployer's own."""
    line: int | None
    """In a file, from 1."""
    value: Any
    """As it is written there, placeholders and all."""

    def __str__(self) -> str:
        place = f"{self.place}:{self.line}" if self.line else self.place
        return f"{place} ({self.layer})" if place not in ("", self.layer) else self.layer

    def to_dict(self) -> dict[str, Any]:
        """As the JSON envelope shows it."""
        return {"layer": self.layer, "place": self.place or None, "line": self.line}


@dataclass(frozen=True)
class Origin:
    """A value of the configuration, and where it comes from."""

    keys: Keys
    value: Any
    sources: list[Source] = field(repr=False)
    """Every layer that says something of it, the one that won first."""

    @property
    def key(self) -> str:
        """Its path as people write it."""
        return dotted(self.keys)

    @property
    def written(self) -> str | None:
        """What was rendered into the value; None where nothing was."""
        text = self.sources[0].value
        return text if isinstance(text, str) and is_template(text) else None


@dataclass(frozen=True)
class Meaning:
    """What a key is for."""

    type: str
    default: Any
    description: str


def effective(loaded: Loaded) -> dict[str, Any]:
    """The configuration as an environment file would say it; secrets stay references."""
    record = loaded.configuration.to_record()
    return {key: record[key] for key in EnvironmentFile.model_fields if record[key] is not None}


def origins(loaded: Loaded) -> list[Origin]:
    """Every value of the configuration, in the order of the file."""
    return [
        Origin(keys, value, _sources(loaded, keys)) for keys, value in _leaves(effective(loaded))
    ]


def explain(loaded: Loaded, text: str) -> tuple[Origin, Meaning]:
    """One key: its value, its origin, its meaning. A bare key is a setting.

    Raises `UsageError` where there is no such key.
    """
    keys = full_key(text)
    known = {origin.keys: origin for origin in origins(loaded)}
    if keys in known:
        return known[keys], _meaning(loaded, keys)
    names = sorted(origin.key for origin in known.values())
    below = [name for name in names if name.startswith(f"{dotted(keys)}.")]
    if below:
        raise UsageError(
            f"{dotted(keys)} is a table", hint=f"Ask for one of its keys: {', '.join(below)}"
        )
    declared = _declared(loaded, keys)
    if declared or (len(keys) == 1 and keys[0] in EnvironmentFile.model_fields):
        return Origin(keys, None, [Source(DEFAULT, "", None, None)]), _meaning(loaded, keys)
    raise UsageError(
        f"There is no key {dotted(keys)}",
        hint=suggest(dotted(keys), names)
        or f"See: deployer config show {loaded.configuration.name}",
    )


def _leaves(table: dict[str, Any], above: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and not secrets.is_reference(value):
            yield from _leaves(value, (*above, key))
        elif value is not None:
            yield (*above, key), value


def _sources(loaded: Loaded, keys: Keys) -> list[Source]:
    found = [
        Source(layer.kind, layer.shown, layer.line(keys), layer.value(keys))
        for layer in loaded.layers.holding(keys)
    ]
    default = _meaning(loaded, keys).default
    if found and default is None:
        return found
    if _declared(loaded, keys) is None:
        return [*found, Source(DEFAULT, "", None, default)]
    file = loaded.app.file if keys[0] == "settings" else loaded.provider.file
    line = file.line([_SECTION[str(keys[0])], keys[1], "default"])
    return [*found, Source(DEFAULT, file.shown, line, default)]


_SECTION = {"settings": "settings", "provider_options": "options"}


def _declared(loaded: Loaded, keys: Keys) -> Setting | None:
    """The setting or the option that a key is."""
    if len(keys) != 2 or keys[0] not in _SECTION:
        return None
    manifest = loaded.app.manifest if keys[0] == "settings" else loaded.provider.manifest
    known = manifest.settings if keys[0] == "settings" else manifest.options  # type: ignore[union-attr]
    found: Setting | None = known.get(str(keys[1]))
    return found


def _meaning(loaded: Loaded, keys: Keys) -> Meaning:
    declared = _declared(loaded, keys)
    if declared:
        return Meaning(declared.type, declared.default, declared.description)
    schema = EnvironmentFile.model_json_schema()
    found: dict[str, Any] = schema
    about = ""
    for key in keys:
        if "$ref" in found:
            found = schema["$defs"][found["$ref"].rpartition("/")[2]]
        inner = found.get("properties", {}).get(key) or found.get("additionalProperties")
        found = inner if isinstance(inner, dict) else {}
        about = found.get("description", about)
    return Meaning(schemas.in_words(found), found.get("default"), about)
