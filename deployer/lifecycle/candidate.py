"""What would be released now: the app bundled, and rendered for every host."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.apps import bundle, render
from deployer.environment.secrets import digests
from deployer.lifecycle import hosts

if TYPE_CHECKING:
    from datetime import datetime

    from deployer.apps.bundle import Bundle
    from deployer.apps.render import Rendered
    from deployer.environment.load import Loaded
    from deployer.paths import Workspace
    from state.records import EnvironmentRecord


@dataclass(frozen=True)
class Candidate:
    """What would be released under a number. `identity` is the same for the same release;
    `secrets` has a digest of each, by the setting's name.
    """

    number: int
    now: datetime
    bundle: Bundle
    rendered: dict[str, Rendered]
    identity: str
    secrets: dict[str, str]


def scan(loaded: Loaded) -> Bundle:
    """What would be bundled of the app."""
    return bundle.scan(loaded.app.folder, loaded.app.shown, loaded.app.manifest.shared)


def candidate(
    workspace: Workspace,
    record: EnvironmentRecord,
    loaded: Loaded,
    scanned: Bundle,
    number: int,
    now: datetime,
    *,
    only_look: bool = False,
) -> Candidate:
    """Render the app for every host, as release `number` made at `now`.

    `only_look`: nothing is written, not even the key that secrets are told apart by. Raises
    `GateError` if a secret can't be had.
    """
    rendered = {
        host.name: render.render(
            loaded.app,
            loaded.configuration,
            hosts.target(workspace, host),
            workspace.root,
            number,
            now,
        )
        for host in record.hosts
    }
    parts = {
        "bundle": scanned.digest,
        "runtime": loaded.configuration.runtime,
        "hosts": {name: r.identity() for name, r in rendered.items()},
    }
    values = loaded.secrets.values(loaded.references)
    seen = digests(workspace.secrets_key, values, make=not only_look)
    if seen:
        parts["secrets"] = {name: [loaded.references[name], seen[name]] for name in seen}
    identity = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return Candidate(number, now, scanned, rendered, identity, seen)
