"""A few tries of every proof; by hand each runs longer, see its `--help`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROOFS = {
    "kill_sweep": ("--seed", "1", "--count", "3"),
    "signal_sweep": ("--seed", "1", "--count", "4"),
    "verb_sweep": ("--seed", "1", "--count", "3"),
    "workspace_faults": ("--seed", "1", "--count", "4"),
    "ansible_faults": ("--seed", "1", "--count", "6"),
    "fence": ("--seed", "1", "--count", "2"),
    "contention": ("--seed", "1", "--count", "3", "--size", "6"),
    "store_load": ("--processes", "8", "--count", "50"),
    "lxd_sweep": ("--seed", "1", "--count", "1"),  # five kills
}
MARKS = {"lxd_sweep": (pytest.mark.lxd, pytest.mark.terraform)}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in PROOFS])
def test_nothing_is_lost(name: str) -> None:
    program = Path(__file__).with_name(f"{name}.py")
    done = subprocess.run(
        [sys.executable, str(program), *PROOFS[name]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode == 77:
        reason = [line for line in done.stdout.splitlines() if line.startswith("skipped")]
        pytest.skip("; ".join(reason))
    assert done.returncode == 0, done.stdout
