"""Whether hosts are ready for a release: room on the disk, and the clock. Only looks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from deployer import events
from deployer.errors import Code, StepError, hosts_error
from deployer.lifecycle import hosts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.lifecycle.steps import VerbRun

COPIES = 2.2  # the bundle and what is unpacked of it are there at once; and a tenth of both
MARGIN = 1_000_000  # bytes for all around it
CLOCK = 5.0  # seconds that a host's clock may differ before it is worth a warning


def inspect(run: VerbRun, size: int) -> dict[str, dict[str, Any]]:
    """Inspect the hosts for a release of `size` bytes; health is not checked.

    Raises `StepError` naming every host without room. A clock that is wrong is a warning: what
    services write and sign then has the wrong time, but they run.
    """
    started = time.time()
    seen = hosts.inspect(run.session.workspace, run.record, check_health=False, by=run.session)
    for host, seconds in clocks(seen, started, time.time()).items():
        behind = "behind" if seconds < 0 else "ahead of"
        warning = f"the clock of {host} is {abs(seconds):.0f} s {behind} this machine's"
        run.warnings.append(warning)
        run.session.publish(
            events.StepProgress,
            run.operation_id,
            verb=run.verb,
            step="ready",
            title=f"{warning}; let chrony or systemd-timesyncd set it",
            outcome="warning",
            host=host,
        )
    require_room(seen, size)
    return seen


def require_room(seen: Mapping[str, dict[str, Any]], size: int) -> None:
    """Raise `StepError` naming each host that has no room for a release of `size` bytes."""
    needed = COPIES * size + MARGIN
    full = [
        StepError(
            f"only {facts['room'] / 1e6:.0f} MB are free there; this release of "
            f"{size / 1e6:.1f} MB needs {needed / 1e6:.0f} MB",
            code=Code.HOST_UNUSABLE,
            host=host,
            hint="Make room on that disk, or keep fewer releases: keep_releases.",
        )
        for host, facts in seen.items()
        if facts["room"] < needed
    ]
    if full:
        raise hosts_error(full, len(seen))


def clocks(seen: Mapping[str, dict[str, Any]], started: float, ended: float) -> dict[str, float]:
    """By how many seconds, at least, clocks are wrong that are wrong by more than `CLOCK`.

    Hosts told their time between `started` and `ended`, by this machine's clock; what is
    negative is behind it.
    """
    off = {
        host: min(facts["clock"] - started, 0.0) or max(facts["clock"] - ended, 0.0)
        for host, facts in seen.items()
    }
    return {host: seconds for host, seconds in off.items() if abs(seconds) > CLOCK}
