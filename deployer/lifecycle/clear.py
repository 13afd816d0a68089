"""clear: releases removed; `shared/` stays unless its removal is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.lifecycle.play import play
from deployer.lifecycle.steps import Step

if TYPE_CHECKING:
    from deployer.lifecycle.steps import VerbRun


def prepare(run: VerbRun) -> list[Step]:
    """One playbook. The option `data` removes shared/ too."""
    more = {"data": bool(run.options.get("data"))}
    run.intent = dict(more)
    return [Step("clear", "Remove releases", lambda step: play(step, "clear", more=lambda _: more))]
