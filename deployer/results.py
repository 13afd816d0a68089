"""What operations and reading commands return."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from state.records import EnvironmentRecord


def commit_text(
    source: dict[str, Any] | None, dirty: str = "with changes that are not committed"
) -> str:
    """The commit that a release came from in words, empty where there is none."""
    if not source or not source["commit"]:
        return ""
    return f"{source['commit'][:12]}{f' {dirty}' if source['dirty'] else ''}"


@dataclass(frozen=True)
class VerbResult:
    """How one verb went. `outcome`: `succeeded`, `failed` or `interrupted`.

    `warnings` is what failed without failing it: hooks after it.
    """

    verb: str
    outcome: str
    changed: bool
    seconds: float
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As the JSON envelope shows it."""
        return {
            "verb": self.verb,
            "outcome": self.outcome,
            "changed": self.changed,
            "seconds": round(self.seconds, 3),
            "warnings": self.warnings,
        }


@dataclass(frozen=True)
class Change:
    """One thing that would be changed.

    `action`: create, change, replace, remove, start, restart or stop; `kind`: resource, host,
    package, file, service, secret or firewall; `details`: attributes, or a unified diff's lines.
    """

    action: str
    kind: str
    name: str
    host: str | None = None
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReleaseView:
    """A release as people see it. `status`: released, failed, releasing, pruned or cleared.

    `current`: the hosts' current one; `serving`: it may be up somewhere; `actor`: who made it,
    None where the history has forgotten.
    """

    number: int
    version: str
    status: str
    created_at: str
    current: bool
    serving: bool
    last_healthy: bool
    actor: str | None = None
    healthy_at: str | None = None
    source: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As the JSON envelope shows it."""
        return asdict(self)


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
    source: dict[str, Any] | None = None
    """Where the release came from: kind, reference, commit, dirty."""

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
            "source": self.source,
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
