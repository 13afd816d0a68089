"""The JSON Schemas of the files that users write, made from their models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.apps.manifest import AppManifest
from deployer.environment.models import EnvironmentFile
from deployer.providers.manifest import ProviderManifest

if TYPE_CHECKING:
    from pydantic import BaseModel

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_FILES: dict[str, tuple[type[BaseModel], str]] = {
    "environment": (EnvironmentFile, "environments/NAME.toml: what runs, where, and how."),
    "app": (AppManifest, "app.toml: an application."),
    "provider": (ProviderManifest, "provider.toml: where environments run."),
    "user": (
        EnvironmentFile,
        "deployer.toml, a profile, or a user's config.toml: the keys of an environment file, none "
        "of them required.",
    ),
}
KINDS = tuple(_FILES)
_PLACEHOLDER = {"type": "string", "pattern": r"\{\{.*\}\}"}
_WORDS = {"string": "text", "integer": "whole number", "boolean": "true or false"}
_LIMITS = (("exclusiveMinimum", "above"), ("minimum", "from"), ("maximum", "up to"))


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema, draft 2020-12, of one kind of file: one of `KINDS`."""
    model, about = _FILES[kind]
    rendered = model is EnvironmentFile
    found = _for_toml(model.model_json_schema(), rendered=rendered)
    if kind == "user":
        found.pop("required", None)
    first = {"$schema": DRAFT, "title": f"deployer {kind}", "description": about}
    return first | {key: value for key, value in found.items() if key not in first}


def _for_toml(part: Any, *, rendered: bool, names: bool = False) -> Any:
    """A part of pydantic's schema without what TOML can't say.

    `rendered`: text with a placeholder in it may stand for what is no text. `names`: the keys
    are a user's, not those of the schema language.
    """
    if isinstance(part, list):
        return [_for_toml(p, rendered=rendered) for p in part]
    if not isinstance(part, dict):
        return part
    if not names:
        part = {key: value for key, value in part.items() if key != "title"}
        if part.get("default", 0) is None:
            del part["default"]
        if "anyOf" in part:
            part["anyOf"] = [kind for kind in part["anyOf"] if kind != {"type": "null"}]
            if len(part["anyOf"]) == 1:
                part |= part.pop("anyOf")[0]
    result = {
        key: value
        if key in ("default", "examples", "enum")
        else _for_toml(value, rendered=rendered, names=key in ("properties", "$defs"))
        for key, value in part.items()
    }
    if rendered and not names and result.get("type") in ("integer", "number", "boolean"):
        said = ("description", "default", "examples")
        kind = {key: result.pop(key) for key in list(result) if key not in said}
        result["anyOf"] = [kind, dict(_PLACEHOLDER)]
    return result


def in_words(found: dict[str, Any]) -> str:
    """What values a part of pydantic's schema allows, for people."""
    if "anyOf" in found:
        kinds = [in_words(kind) for kind in found["anyOf"] if kind.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in found:
        return "one of " + ", ".join(map(str, found["enum"]))
    kind = str(found.get("type", "any value"))
    if kind == "array":
        return f"list: {in_words(found['items'])}"
    if kind == "object":
        inner = found.get("additionalProperties")
        return f"table: {in_words(inner)}" if isinstance(inner, dict) else "table"
    limits = [f" {word} {found[key]:g}" for key, word in _LIMITS if key in found]
    return _WORDS.get(kind, kind) + "".join(limits)
