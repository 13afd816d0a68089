"""An application's manifest, `app.toml`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from deployer import runtimes
from deployer.environment.hooks import ON_HOSTS, HostHook, Program
from deployer.environment.settings import Setting
from deployer.paths import NAME, valid_name

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.apps.reference import Source
    from deployer.environment.toml import TomlFile


def _setting_name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", value):
        raise ValueError(f"{value!r} is not a name of a setting: a-z, 0-9 and _")
    return value


def _variable(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError(f"{value!r} is not the name of an environment variable")
    return value


def _package(value: str) -> str:
    # Debian Policy, section 5.6.1
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", value):
        raise ValueError(f"{value!r} is not the name of a Debian package")
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


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, int | dict) else value


def _header(value: str) -> str:
    # RFC 9110, section 5.6.2
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", value):
        raise ValueError(f"{value!r} is not the name of a header")
    return value


def _hex(value: str) -> str:
    try:
        return bytes.fromhex(value).hex()
    except ValueError:
        raise ValueError(f"{value!r} is not hexadecimal, like '0a ff'") from None


def _mode(value: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError(f"{value!r} is not a file mode like '0644'")
    return value


def _not_reserved(value: str) -> str:
    if value.split("/")[0] in (".deployer", ".secrets"):
        raise ValueError(f"{value!r} is reserved: Deployer keeps files of its own there")
    return value


def within(path: str, folder: str) -> bool:
    """Whether a relative path is a folder or leads into it."""
    return path == folder or path.startswith(f"{folder}/")


def _inside_app(words: list[str]) -> list[str]:
    return [inside(words[0]), *words[1:]]


Name = Annotated[
    str, AfterValidator(valid_name), Field(json_schema_extra={"pattern": f"^{NAME.pattern}$"})
]
InsidePath = Annotated[str, AfterValidator(inside)]
SharedPath = Annotated[str, AfterValidator(inside), AfterValidator(_not_reserved)]
Variables = dict[Annotated[str, AfterValidator(_variable)], str]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class HealthCheck(_Strict):
    """How to see that a service is healthy, on its host: one of four ways."""

    http: str | None = Field(None, description="A URL that is fetched; no redirect is followed.")
    tcp: str | None = Field(None, description="An address, host:port, that accepts connections.")
    udp: str | None = Field(
        None, description="An address, host:port, that answers a datagram with one of its own."
    )
    command: list[str] | None = Field(
        None, min_length=1, description="A command that exits 0, run in the release's folder."
    )
    status: Annotated[
        list[Annotated[int, Field(ge=100, le=599)]] | None,
        BeforeValidator(_one_or_many, json_schema_input_type=int | list[int] | None),
    ] = Field(
        None,
        min_length=1,
        description="With `http`: the status or statuses that are healthy. Default: 200 to 399.",
    )
    headers: dict[Annotated[str, AfterValidator(_header)], str] = Field(
        default_factory=dict, description="With `http`: headers of the request."
    )
    body: str | None = Field(
        None,
        min_length=1,
        description="With `http` and `udp`: text that must be in the answer.",
    )
    send: str | None = Field(
        None, min_length=1, description="With `udp`: what the datagram says, as text."
    )
    send_hex: Annotated[str, AfterValidator(_hex)] | None = Field(
        None,
        min_length=1,
        description="With `udp`: the same in hexadecimal; spaces don't count.",
    )
    timeout: float = Field(
        5, gt=0, le=30, allow_inf_nan=False, description="Seconds that one check may take."
    )

    @model_validator(mode="after")
    def _one(self) -> HealthCheck:
        ways = ("http", "tcp", "udp", "command")
        if sum(getattr(self, way) is not None for way in ways) != 1:
            raise ValueError("name exactly one of http, tcp, udp and command")
        if self.udp is not None and (self.send is None) == (self.send_hex is None):
            raise ValueError("udp needs either send or send_hex: what the datagram says")
        for key, owners in _BELONGS.items():
            if getattr(self, key) and not any(getattr(self, way) for way in owners):
                raise ValueError(f"{key} goes with {' or '.join(owners)} only")
        return self


_BELONGS = {
    "status": ("http",),
    "headers": ("http",),
    "body": ("http", "udp"),
    "send": ("udp",),
    "send_hex": ("udp",),
}
"""Keys of a health check that make sense with some ways only."""


class Service(_Strict):
    """One process that the runtime keeps up."""

    name: Name = Field(description="Its name: in logs, in `status`, in the environment.")
    command: list[str] = Field(min_length=1, description="Program and arguments; no shell.")
    environment: Variables = Field(default_factory=dict, description="Environment variables.")
    health: Annotated[
        list[HealthCheck] | None,
        BeforeValidator(
            _one_or_many, json_schema_input_type=HealthCheck | list[HealthCheck] | None
        ),
    ] = Field(
        None,
        min_length=1,
        description="One check, or several that must all pass. Without, to be up is to be healthy.",
    )
    url: str | None = Field(None, description="Where a person finds it.")


class RenderedFile(_Strict):
    """A file of the release that is rendered from a template of the app."""

    template: InsidePath = Field(description="The template, in the app's folder.")
    path: InsidePath = Field(description="Where the result goes, in the release.")
    mode: Annotated[str, AfterValidator(_mode)] = Field("0644", description="Its mode, octal.")


class Build(_Strict):
    """A command that makes a release ready on its host, before it becomes current."""

    name: Name = Field(description="Its name: in the progress, in errors.")
    command: list[str] = Field(
        min_length=1, description="Program and arguments; no shell. Run in the release's folder."
    )
    timeout: float = Field(
        300,
        gt=0,
        le=14_400,
        allow_inf_nan=False,
        description="Seconds after which it is ended and has failed.",
    )
    environment: Variables = Field(default_factory=dict, description="Environment variables.")


class AppManifest(_Strict):
    """`app.toml`."""

    name: Name = Field(description="The app's name.", examples=["shop"])
    version: str = Field(
        "0",
        min_length=1,
        description="The app's version, shown in the history.",
        examples=["1.4.0"],
    )
    description: str = Field("", description="What it is, for people.")
    requires: list[str] = Field(
        default_factory=list,
        description="Capabilities that it needs of a provider.",
        examples=[["python3"]],
    )
    packages: list[Annotated[str, AfterValidator(_package)]] = Field(
        default_factory=list,
        description="Debian packages that it needs on its hosts.",
        examples=[["caddy"]],
    )
    runtimes: list[Annotated[str, AfterValidator(_runtime)]] = Field(
        default=["supervisor"], min_length=1, description="What it runs under, the best first."
    )
    settings: dict[Annotated[str, AfterValidator(_setting_name)], Setting] = Field(
        default_factory=dict,
        description="What users may set.",
        examples=[{"port": {"type": "port", "default": 8080}}],
    )
    services: list[Service] = Field(
        min_length=1,
        description="Its processes.",
        examples=[[{"name": "web", "command": ["python3", "web.py"]}]],
    )
    files: list[RenderedFile] = Field(default_factory=list, description="Rendered files.")
    build: list[Build] = Field(
        default_factory=list, description="Commands that make a release ready, in their order."
    )
    shared: list[SharedPath] = Field(
        default_factory=list,
        description="Folders of the release that are the same in every release.",
        examples=[["data"]],
    )
    hooks: dict[HostHook, Annotated[Program, AfterValidator(_inside_app)]] = Field(
        default_factory=dict,
        description="Programs of the app, run on every host before and after verbs.",
        examples=[{"before_release": "bin/backup"}],
        json_schema_extra={"propertyNames": {"enum": list(ON_HOSTS)}},
    )

    @model_validator(mode="after")
    def _unique(self) -> AppManifest:
        for what, names in (
            ("service", [service.name for service in self.services]),
            ("file", [file.path for file in self.files]),
            ("build", [build.name for build in self.build]),
        ):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{what} {sorted(twice)[0]!r} is there twice")
        return self

    @model_validator(mode="after")
    def _apart(self) -> AppManifest:
        for index, path in enumerate(self.shared):
            for other in self.shared[:index]:
                if within(path, other) or within(other, path):
                    inner, outer = (path, other) if within(path, other) else (other, path)
                    raise ValueError(f"shared: {inner!r} is in {outer!r}; name the outer one only")
            for file in self.files:
                if within(file.path, path) or within(path, file.path):
                    raise ValueError(f"file {file.path!r} is in the way of shared {path!r}")
        return self


@dataclass(frozen=True)
class App:
    """An application that was found."""

    folder: Path
    manifest: AppManifest
    file: TomlFile
    shown: str
    """What complaints call its folder."""
    source: Source
    hold: object = None
    """What keeps an unpacked folder from being removed while this is in use."""
