"""What a release would change on its hosts: files with their differences, and services."""

from __future__ import annotations

import base64
from difflib import unified_diff
from typing import TYPE_CHECKING, Any

from deployer.lifecycle.play import check
from deployer.lifecycle.steps import StepResult
from deployer.results import Change

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.apps.bundle import Bundle
    from deployer.apps.render import Rendered
    from deployer.lifecycle.candidate import Candidate
    from deployer.lifecycle.steps import StepRun
    from state.records import HostRecord

ACTIONS = {"added": "create", "changed": "change", "removed": "remove"}


def preview(
    step: StepRun,
    chosen: Candidate,
    told: Callable[[HostRecord], dict[str, Any]],
    secrets: dict[str, str],
) -> StepResult:
    """Compare the release with the current one of every host. Changes nothing.

    `secrets` has the digests of the current release's, by the setting's name. Small text files
    that change come with a unified diff, except those that are for the services' user alone; of
    a service or a secret only its name is told.
    """
    changes = [
        Change("change" if name in secrets else "create", "secret", name)
        for name, digest in chosen.secrets.items()
        if secrets.get(name) != digest
    ]
    found = check(step, "release", more=told)
    for host, seen in found.items():
        for what, action in ACTIONS.items():
            changes += [
                Change(action, "file", path, host, _diff(path, seen, chosen, host))
                for path in seen["files"][what]
            ]
        for what, action in ACTIONS.items():
            changes += [Change(action, "service", name, host) for name in seen["services"][what]]
    return StepResult(
        changed=any(seen["changed"] for seen in found.values()), changes=tuple(changes)
    )


def _diff(path: str, seen: dict[str, Any], chosen: Candidate, host: str) -> tuple[str, ...]:
    before = seen["texts"].get(path)
    after = _text(path, chosen.bundle, chosen.rendered[host])
    if before is None or after is None:
        return ()
    lines = unified_diff(
        before.splitlines(), after.splitlines(), f"a/{path}", f"b/{path}", lineterm=""
    )
    return tuple(lines)


def _text(path: str, bundle: Bundle, rendered: Rendered) -> str | None:
    """The text that a file is to have; None where it is none."""
    try:
        for file in rendered.files:
            if file["path"] == path:
                return base64.b64decode(file["content"]).decode()
        return (bundle.folder / path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
