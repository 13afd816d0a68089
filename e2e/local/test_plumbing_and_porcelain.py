"""`deploy` is the four verbs, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e.support import fetch
from state.machine import BASE, RAISING

if TYPE_CHECKING:
    from e2e.support import Environment, Site


def end_state(environment: Environment) -> dict[str, Any]:
    """What `show` tells, without what makes one environment another one than the next."""
    shown = environment.shown
    port = str(shown["settings"].pop("port"))
    shown["urls"] = [url.replace(port, "PORT") for url in shown["urls"]]
    shown["verbs"] = [verb["verb"] for verb in shown["verbs"]]
    return {k: v for k, v in shown.items() if k not in ("name", "uuid", "created_at", "updated_at")}


def steps(operations: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Verbs, the states between which they led, and their steps."""
    return [
        (
            operation["verb"],
            operation["outcome"],
            operation["from_state"],
            operation["to_state"],
            operation["changed"],
            [(step["name"], step["outcome"]) for step in operation["steps"]],
        )
        for operation in operations
    ]


def test_verbs_one_by_one_lead_where_deploy_leads(site: Site) -> None:
    by_hand, at_once = site.environment("by-hand"), site.environment("at-once")

    for verb in RAISING:
        by_hand(verb)
    deployed = at_once("deploy")

    assert deployed.verbs == list(RAISING)
    assert end_state(by_hand) == {**end_state(at_once), "verbs": ["run"]}
    assert end_state(by_hand)["state"] == "running"
    created, *verbs = by_hand.operations
    also_created, deploy = at_once.operations
    assert steps([created]) == steps([also_created])
    assert steps(verbs) == steps(deploy["verbs"])
    assert all(step["name"] for verb in verbs for step in verb["steps"])
    assert "Guestbook" in fetch(by_hand.url)
    assert "Guestbook" in fetch(at_once.url)


@pytest.mark.parametrize("reached", range(len(BASE)), ids=BASE)
def test_deploy_runs_exactly_the_verbs_that_remain(site: Site, reached: int) -> None:
    demo = site.environment()
    for verb in RAISING[:reached]:
        demo(verb)
    assert demo.shown["state"] == BASE[reached]

    deployed = demo("deploy")

    assert deployed.verbs == list(RAISING[reached:])
    assert deployed.data["state"] == "running"
    assert "Guestbook" in fetch(demo.url)
