"""A provider: a folder with a `provider.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from deployer.environment.settings import Setting

if TYPE_CHECKING:
    from pathlib import Path


class ProviderManifest(BaseModel):
    """`provider.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="The provider's name.")
    version: str = Field(description="The version of this manifest and what stands beside it.")
    kind: Literal["static"] = Field(description="`static`: its hosts are there already.")
    description: str = ""
    capabilities: list[str] = Field(
        default_factory=list, description="What its hosts offer to apps and runtimes."
    )
    options: dict[str, Setting] = Field(
        default_factory=dict, description="What `provider_options` may say."
    )


@dataclass(frozen=True)
class Provider:
    """A provider that was found."""

    folder: Path
    manifest: ProviderManifest
