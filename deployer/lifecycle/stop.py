"""stop: every service down, and not started at boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.lifecycle.play import play
from deployer.lifecycle.steps import Step

if TYPE_CHECKING:
    from deployer.lifecycle.steps import VerbRun


def prepare(run: VerbRun) -> list[Step]:
    """One playbook; nothing where there is no host yet."""
    if not run.record.hosts:
        return []
    return [Step("stop", "Stop services", lambda step: play(step, "stop"))]
