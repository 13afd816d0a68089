"""Many at once: on one environment, on one with --lock-wait, and many environments on one store."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from harness import Done, Lab, expect, lab, prove

if TYPE_CHECKING:
    import random

AT_ONCE = 8  # deployments that really run beside each other


def _storm(found: Lab, size: int, *arguments: str) -> list[Done]:
    found.create()
    children = [found.start("deploy", found.name, *arguments) for _ in range(size)]
    ended = [child.wait(600) for child in children]
    for done in ended:
        expect(done.code in (0, 6), f"{done}")
        expect("database is locked" not in done.err + done.out, f"{done}")
    found.check_running()
    made = found.rows("SELECT * FROM operations WHERE verb = 'deploy' AND changed = 1")
    expect(len(made) == 1, f"{len(made)} operations made changes")
    actions = [line["action"] for line in found.journal() if line["moment"] == "start"]
    expect(actions == ["prepare", "release", "run"], f"on the host: {actions}")
    return ended


def one(size: int) -> str:
    """Each deploys, or says who holds the lease; one makes changes."""
    with lab() as found:
        ended = _storm(found, size)
        refused = [done for done in ended if done.code == 6]
        for done in refused:
            error = done.error
            expect(error["code"] == "LOCKED", f"{done}")
            expect("pid" in error["message"], f"it does not say who: {done}")
        expect(len(refused) < size, "nobody deployed")
    return f"{size} deploys at once: {size - len(refused)} exit 0, {len(refused)} exit 6"


def waiting(size: int) -> str:
    """Each waits for its turn; one makes changes, the others find nothing to do."""
    with lab() as found:
        ended = _storm(found, size, "--lock-wait", "500")
        expect(all(done.code == 0 for done in ended), f"{[done.code for done in ended]}")
    return f"{size} deploys at once with --lock-wait: all exit 0"


def many(size: int) -> str:
    """Each environment is created and deployed, all on one store."""
    with lab() as first:
        others = [Lab(first.root, name=f"demo-{number}") for number in range(1, size)]

        def bring_up(found: Lab) -> None:
            for arguments in (("create", found.name), ("deploy", found.name)):
                done = found.start(*arguments).wait(600)
                expect(done.code == 0, f"{done}")
                expect("database is locked" not in done.err + done.out, f"{done}")

        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(bring_up, [first, *others]))
            for found in [first, *others]:
                found.check_running()
        finally:
            for found in others:
                found.clean(keep=True)
    return f"{size} environments on one store, {AT_ONCE} at once"


TRIES = (one, waiting, many)


def main() -> None:
    """Take --size out of the arguments, the rest is every proof's."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--size", type=int, default=20)
    options, sys.argv[1:] = parser.parse_known_args()

    def case(_: random.Random, index: int) -> str:
        return TRIES[index % len(TRIES)](options.size)

    prove(case, count=len(TRIES), title=f"{__doc__} --size N: how many (20).")


if __name__ == "__main__":
    main()
