"""The environment file as a model, and the configuration that comes out of all layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class HealthPolicy(BaseModel):
    """How long to wait for services, and what counts as healthy."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    timeout: Seconds = Field(60, description="Seconds until a service must be healthy.")
    interval: Seconds = Field(0.5, description="Seconds between two checks of a service.")
    success_threshold: int = Field(
        2, ge=1, le=100, description="Checks in a row that must pass before a service is healthy."
    )


class EnvironmentFile(BaseModel):
    """`environments/<name>.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    app: str = Field(
        min_length=1,
        description="A folder with an app.toml, or the name of an app below apps/ or built in.",
    )
    provider: str = Field("local", min_length=1, description="Where it runs.")
    runtime: str | None = Field(
        None,
        description="How services run. Default: the app's first that the provider can offer.",
    )
    step_timeout: Seconds = Field(300, description="Seconds after which a step is ended.")
    keep_operations: int = Field(
        1000, ge=1, description="How many operations the history keeps; older ones are removed."
    )
    provider_options: dict[str, Any] = Field(
        default_factory=dict, description="The provider's own options."
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="The app's own settings; see its app.toml."
    )
    health: HealthPolicy = Field(default_factory=HealthPolicy, description="When is it healthy?")


@dataclass(frozen=True)
class Configuration:
    """What all layers together say, validated: plain values, no templates left."""

    name: str
    app: str
    provider: str
    runtime: str
    step_timeout: float = 300.0
    keep_operations: int = 1000
    provider_options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    health: HealthPolicy = field(default_factory=HealthPolicy)

    def to_record(self) -> dict[str, Any]:
        """The configuration as it is recorded with an intent."""
        return {
            "app": self.app,
            "provider": self.provider,
            "runtime": self.runtime,
            "step_timeout": self.step_timeout,
            "keep_operations": self.keep_operations,
            "provider_options": self.provider_options,
            "settings": self.settings,
            "health": self.health.model_dump(),
        }

    @classmethod
    def from_record(cls, name: str, record: dict[str, Any]) -> Configuration:
        """The configuration that an intent recorded."""
        return cls(name=name, **{**record, "health": HealthPolicy(**record["health"])})
