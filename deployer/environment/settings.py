"""Typed settings: what an app or a provider declares, and the check of what a user gave."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deployer.environment import secrets

SettingType = Literal["string", "integer", "number", "boolean", "port", "secret"]
Value = str | int | float | bool


class Given(str):
    """A value that comes as text: from `--set`, or out of a template."""

    __slots__ = ()


class Setting(BaseModel):
    """One declared setting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: SettingType = Field(description="What values it takes.")
    default: Value | None = Field(None, description="Its value where the user gives none.")
    description: str = Field("", description="What it is for.")
    choices: list[Value] | None = Field(None, description="The only values it takes.")
    optional: bool = Field(False, description="Whether a secret may be left out.")

    @model_validator(mode="after")
    def _default_fits(self) -> Setting:
        if self.optional and self.type != "secret":
            raise ValueError("optional is for secrets; give it a default")
        self._check_default()
        return self

    def _check_default(self) -> None:
        if self.type == "secret" and (self.default is not None or self.choices is not None):
            raise ValueError(
                "a secret has no default and no choices; optional = true lets it be left out"
            )
        if self.default is not None:
            self.check(self.default)

    def check(self, value: object) -> Any:
        """`value` as this setting's type, a reference for a secret.

        Raises `ValueError` saying what would fit.
        """
        if self.type == "secret":
            return secrets.reference(value)
        found = self._typed(value)
        if self.choices is not None and found not in self.choices:
            raise ValueError(f"must be one of {', '.join(map(str, self.choices))}")
        return found

    def _typed(self, value: object) -> Value:
        if isinstance(value, Given):
            value = self._parsed(value)
        match self.type:
            case "string" if isinstance(value, str):
                if "\0" in value:
                    raise ValueError("must not contain a NUL")
                return str(value)
            case "boolean" if isinstance(value, bool):
                return value
            case "integer" if isinstance(value, int) and not isinstance(value, bool):
                return value
            case "number" if isinstance(value, int | float) and not isinstance(value, bool):
                return value
            case "port" if isinstance(value, int) and not isinstance(value, bool):
                if not 1 <= value <= 65535:
                    raise ValueError("must be a port number, 1 to 65535")
                return value
        article = "an" if self.type == "integer" else "a"
        raise ValueError(f"must be {article} {self.type}, not {_kind(value)}")

    def _parsed(self, text: Given) -> object:
        try:
            match self.type:
                case "integer" | "port":
                    return int(text)
                case "number":
                    return float(text)
                case "boolean":
                    return {"true": True, "false": False}[text.lower()]
        except (ValueError, KeyError):
            pass
        return str(text)


def _kind(value: object) -> str:
    names = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
    return names.get(type(value), f"a {type(value).__name__}")
