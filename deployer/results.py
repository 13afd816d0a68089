"""What operations and reading commands return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from state.records import EnvironmentRecord


@dataclass(frozen=True)
class VerbResult:
    """How one verb went. `outcome`: `succeeded`, `failed` or `interrupted`."""

    verb: str
    outcome: str
    changed: bool
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As the JSON envelope shows it."""
        return {
            "verb": self.verb,
            "outcome": self.outcome,
            "changed": self.changed,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class Summary:
    """An environment as it is recorded, and what the last operation ran.

    `serving` lists the releases that may be up on any host, `urls` where a person finds it.
    """

    record: EnvironmentRecord
    urls: list[str] = field(default_factory=list)
    verbs: list[VerbResult] = field(default_factory=list)
    operation_id: str | None = None
    correlation_id: str | None = None
    seconds: float | None = None

    @property
    def name(self) -> str:
        """The environment's name."""
        return self.record.name

    @property
    def state(self) -> str:
        """Its recorded state."""
        return self.record.state.value

    @property
    def serving(self) -> list[int]:
        """The releases that may be up."""
        return self.record.serving

    def to_dict(self) -> dict[str, Any]:
        """As the JSON envelope shows it."""
        record = self.record
        return {
            "name": record.name,
            "state": record.state.value,
            "rank": record.rank,
            "generation": record.generation,
            "uuid": record.uuid,
            "app": record.config.get("app"),
            "provider": record.config.get("provider"),
            "runtime": record.config.get("runtime"),
            "settings": record.config.get("settings", {}),
            "release": record.inputs.get("release", {}).get("number") if record.exists else None,
            "serving": record.serving,
            "urls": self.urls,
            "hosts": [
                {"name": h.name, "address": h.address, "serving": h.serving, "outcome": h.outcome}
                for h in record.hosts
            ],
            "verbs": [verb.to_dict() for verb in self.verbs],
            "created_at": record.created_at,
            "updated_at": record.updated_at,
        }
