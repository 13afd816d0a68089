"""An application's manifest, `app.toml`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from deployer import runtimes
from deployer.environment.settings import Setting
from deployer.paths import NAME, NAME_RULE

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.environment.toml import TomlFile


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a name: {NAME_RULE}")
    return value


def _setting_name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", value):
        raise ValueError(f"{value!r} is not a name of a setting: a-z, 0-9 and _")
    return value


def _variable(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError(f"{value!r} is not the name of an environment variable")
    return value


def _runtime(value: str) -> str:
    if value not in runtimes.REQUIRES:
        raise ValueError(f"there is no runtime {value!r}; known: {', '.join(runtimes.REQUIRES)}")
    return value


def inside(value: str) -> str:
    """`value` if it is a relative path that stays in its folder; else `ValueError`."""
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in value:
        raise ValueError(f"{value!r} must be a relative path that stays inside the folder")
    return str(path)


def _mode(value: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError(f"{value!r} is not a file mode like '0644'")
    return value


Name = Annotated[str, AfterValidator(_name)]
InsidePath = Annotated[str, AfterValidator(inside)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class HealthCheck(_Strict):
    """How to see that a service is healthy, on its host: one of three ways."""

    http: str | None = Field(None, description="A URL that answers with a status of 200 to 399.")
    tcp: str | None = Field(None, description="An address, host:port, that accepts connections.")
    command: list[str] | None = Field(
        None, min_length=1, description="A command that exits 0, run in the release's folder."
    )

    @model_validator(mode="after")
    def _one(self) -> HealthCheck:
        if sum(way is not None for way in (self.http, self.tcp, self.command)) != 1:
            raise ValueError("name exactly one of http, tcp and command")
        return self


class Service(_Strict):
    """One process that the runtime keeps up."""

    name: Name = Field(description="Its name: in logs, in `status`, in the environment.")
    command: list[str] = Field(min_length=1, description="Program and arguments; no shell.")
    environment: dict[Annotated[str, AfterValidator(_variable)], str] = Field(
        default_factory=dict, description="Environment variables."
    )
    health: HealthCheck | None = Field(None, description="Without one, to be up is to be healthy.")
    url: str | None = Field(None, description="Where a person finds it.")


class RenderedFile(_Strict):
    """A file of the release that is rendered from a template of the app."""

    template: InsidePath = Field(description="The template, in the app's folder.")
    path: InsidePath = Field(description="Where the result goes, in the release.")
    mode: Annotated[str, AfterValidator(_mode)] = Field("0644", description="Its mode, octal.")


class AppManifest(_Strict):
    """`app.toml`."""

    name: Name = Field(description="The app's name.")
    version: str = Field("0", min_length=1, description="The app's version, shown in the history.")
    description: str = Field("", description="What it is, for people.")
    requires: list[str] = Field(
        default_factory=list, description="Capabilities that it needs of a provider."
    )
    runtimes: list[Annotated[str, AfterValidator(_runtime)]] = Field(
        default=["supervisor"], min_length=1, description="What it runs under, the best first."
    )
    settings: dict[Annotated[str, AfterValidator(_setting_name)], Setting] = Field(
        default_factory=dict, description="What users may set."
    )
    services: list[Service] = Field(min_length=1, description="Its processes.")
    files: list[RenderedFile] = Field(default_factory=list, description="Rendered files.")

    @model_validator(mode="after")
    def _unique(self) -> AppManifest:
        for what, names in (
            ("service", [service.name for service in self.services]),
            ("file", [file.path for file in self.files]),
        ):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{what} {sorted(twice)[0]!r} is there twice")
        return self


@dataclass(frozen=True)
class App:
    """An application that was found."""

    folder: Path
    manifest: AppManifest
    file: TomlFile
