"""A provider: a folder with a `provider.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deployer.environment.settings import Given, Setting, SettingType
from deployer.providers import hosts

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.environment.toml import TomlFile


class Option(Setting):
    """One option of a provider."""

    type: SettingType | Literal["list", "ports", "table", "hosts"] = Field(  # type: ignore[assignment]
        description="What values it takes."
    )
    default: Any = Field(None, description="Its value where the user gives none.")
    optional: bool = Field(False, description="Whether it may be left out without a default.")

    @model_validator(mode="after")
    def _default_fits(self) -> Option:
        self._check_default()
        return self

    def check(self, value: object) -> Any:
        """`value` as this option's type; raises `ValueError` saying what would fit."""
        match self.type:
            case "hosts":
                # a name or a user that a host leaves open is another option's to give
                known = hosts.parse(value, {})
                return [host.model_dump(exclude_unset=True, mode="json") for host in known]
            case "list":
                if isinstance(value, Given):
                    value = [part.strip() for part in value.split(",") if part.strip()]
                if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
                    raise ValueError("must be a list of texts")
                return [str(part) for part in value]
            case "ports":
                if isinstance(value, Given):
                    value = [Given(part.strip()) for part in value.split(",") if part.strip()]
                if not isinstance(value, list):
                    raise ValueError("must be a list of port numbers")
                return [Setting(type="port").check(part) for part in value]
            case "table":
                if not isinstance(value, dict):
                    raise ValueError("must be a table")
                return value
        found = super().check(value)
        if self.type == "secret" and "prompt" in found:
            raise ValueError("can't be asked for, as every look at a host needs it")
        return found


class ProviderManifest(BaseModel):
    """`provider.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="The provider's name.", examples=["lxd"])
    version: str = Field(
        description="The version of this manifest and what stands beside it.", examples=["1"]
    )
    kind: Literal["static", "terraform"] = Field(
        description="`static`: its hosts are there already. `terraform`: a module makes them."
    )
    description: str = Field("", description="What it is, for people.")
    capabilities: list[str] = Field(
        default_factory=list,
        description="What its hosts offer to apps and runtimes.",
        examples=[["python3", "systemd", "sudo", "apt"]],
    )
    programs: list[str] = Field(
        default_factory=list,
        description="Programs that must be installed here.",
        examples=[["ssh", "ssh-keygen"]],
    )
    environment: list[str] = Field(
        default_factory=list,
        description="Environment variables that its programs may see; `*` stands for any ending.",
    )
    options: dict[str, Option] = Field(
        default_factory=dict,
        description="What `provider_options` may say.",
        examples=[{"image": {"type": "string", "default": "debian/12"}}],
    )
    own_module: bool = Field(
        False,
        description="The module is the user's: the option `module` names its folder, "
        "the option `variables` has its variables.",
    )
    ready: list[str] = Field(
        default_factory=list,
        description="A command that exits 0 if the provider can be used from here; its last "
        "line says why not.",
    )
    probe: list[str] = Field(
        default_factory=list,
        description="A command that prints which hosts exist, as JSON: a list of "
        "{name, address, id}, and where a host can't be reached now the problem and a hint. "
        "Run in the module's folder.",
    )
    sweep: list[str] = Field(
        default_factory=list,
        description="A command that removes all that carries the environment's tag.",
    )
    resource: str = Field(
        "",
        description="The resource that stands for a host, for_each over the names of hosts; it "
        "is replaced when the probe misses its host.",
    )
    noun: str = Field("", description="What such a resource is called in messages.")
    hint: str = Field(
        "", description="What to check where its module fails and the error has no better hint."
    )
    fixed: list[str] = Field(
        default_factory=list,
        description="Options that stay as they were at the first provision: destroy first.",
    )

    @model_validator(mode="after")
    def _whole(self) -> ProviderManifest:
        if (self.probe or self.noun) and not self.resource:
            raise ValueError("resource is missing: what a probe misses, and a noun names")
        if self.own_module and not {"module", "variables"} <= self.options.keys():
            raise ValueError("own_module wants the options module and variables")
        return self


@dataclass(frozen=True)
class Provider:
    """A provider that was found."""

    folder: Path
    manifest: ProviderManifest
    file: TomlFile

    @property
    def local(self) -> bool:
        """Whether its host is this machine itself."""
        return self.manifest.kind == "static" and "hosts" not in self.manifest.options
