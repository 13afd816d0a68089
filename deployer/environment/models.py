"""The environment file as a model, and the configuration that comes out of all layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from deployer.environment.hooks import ON_CONTROLLER, ControllerHook, Program

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class HealthPolicy(BaseModel):
    """How long to wait for services, and what counts as healthy."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    timeout: Seconds = Field(60, description="Seconds until a service must be healthy.")
    interval: Seconds = Field(0.5, description="Seconds between two checks of a service.")
    success_threshold: int = Field(
        2, ge=1, le=100, description="Checks in a row that must pass before a service is healthy."
    )
    failure_threshold: int = Field(
        3, ge=1, le=10, description="Checks in a row that must fail before a service is unhealthy."
    )


class EnvironmentFile(BaseModel):
    """`environments/<name>.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    app: str = Field(
        min_length=1,
        description="A folder with an app.toml, a `.tar.gz` of one, a git repository "
        "(`URL#REF` or `URL#REF:FOLDER`), or the name of an app below apps/ or built in.",
        examples=["./app", "guestbook", "https://git.example.org/shop.git#v1.4.0"],
    )
    provider: str = Field(
        "local", min_length=1, description="Where it runs.", examples=["local", "ssh", "lxd"]
    )
    runtime: str | None = Field(
        None,
        description="How services run. Default: the app's first that the provider can offer.",
        examples=["systemd", "supervisor"],
    )
    step_timeout: Seconds = Field(300, description="Seconds after which a step is ended.")
    host_timeout: Seconds = Field(
        180, description="Seconds until a machine that was made must answer by SSH."
    )
    firewall: bool = Field(
        False,
        description="Open SSH and the app's ports on its hosts, and close all others.",
    )
    keep_releases: int = Field(
        5,
        ge=1,
        description="How many releases stay on the hosts; the current one, one that is up and "
        "the last healthy one always do.",
    )
    confirm: bool = Field(
        True,
        description="On a terminal, `deploy` shows its plan and asks before it changes what runs.",
    )
    keep_operations: int = Field(
        1000, ge=1, description="How many operations the history keeps; older ones are removed."
    )
    provider_options: dict[str, Any] = Field(
        default_factory=dict,
        description="The provider's own options.",
        examples=[{"image": "debian/12"}],
    )
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="The app's own settings; see its app.toml.",
        examples=[{"port": 8080}],
    )
    health: HealthPolicy = Field(default_factory=HealthPolicy, description="When is it healthy?")
    hooks: dict[ControllerHook, Program] = Field(
        default_factory=dict,
        description="Programs of yours, run here before and after verbs: `before_VERB`, "
        "`after_VERB`.",
        examples=[{"before_release": "hooks/check"}],
        json_schema_extra={"propertyNames": {"enum": list(ON_CONTROLLER)}},
    )


@dataclass(frozen=True)
class Configuration:
    """What all layers together say, validated: plain values, no templates left."""

    name: str
    app: str
    provider: str
    runtime: str
    step_timeout: float = 300.0
    host_timeout: float = 180.0
    firewall: bool = False
    keep_releases: int = 5
    confirm: bool = True
    keep_operations: int = 1000
    provider_options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    health: HealthPolicy = field(default_factory=HealthPolicy)
    hooks: dict[str, list[str]] = field(default_factory=dict)
    """Hook → program and arguments; a relative path starts at the workspace."""
    profile: str | None = None
    """The profile that was used: a path, relative to the workspace where it is inside."""

    def to_record(self) -> dict[str, Any]:
        """The configuration as it is recorded with an intent."""
        return {
            "app": self.app,
            "provider": self.provider,
            "runtime": self.runtime,
            "step_timeout": self.step_timeout,
            "host_timeout": self.host_timeout,
            "firewall": self.firewall,
            "keep_releases": self.keep_releases,
            "confirm": self.confirm,
            "keep_operations": self.keep_operations,
            "provider_options": self.provider_options,
            "settings": self.settings,
            "health": self.health.model_dump(),
            "hooks": self.hooks,
            "profile": self.profile,
        }

    @classmethod
    def from_record(cls, name: str, record: dict[str, Any]) -> Configuration:
        """The configuration that an intent recorded."""
        return cls(name=name, **{**record, "health": HealthPolicy(**record["health"])})
