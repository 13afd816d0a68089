"""What a look tells of hosts before they are changed: room on the disk, and clocks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from deployer.errors import Code, StepError
from deployer.lifecycle import readiness
from deployer.tools.host_code import host_code

if TYPE_CHECKING:
    from pathlib import Path


def test_every_host_without_room_for_the_release_is_named_at_once() -> None:
    seen = {"a": {"room": 5_000_000}, "b": {"room": 10**9}, "c": {"room": 0}}

    with pytest.raises(StepError) as refused:
        readiness.require_room(seen, 10_000_000)

    assert refused.value.code is Code.HOST_UNUSABLE
    assert refused.value.host == "a, c"
    assert "only 5 MB are free there; this release of 10.0 MB needs 23 MB" in refused.value.message


def test_room_for_the_bundle_and_what_is_unpacked_of_it_is_enough() -> None:
    readiness.require_room({"a": {"room": 24_000_000}}, 10_000_000)


def test_clocks_are_told_that_differ_by_more_than_the_look_explains() -> None:
    seen = {
        "right": {"clock": 1_000.5},
        "slow": {"clock": 940.0},
        "fast": {"clock": 1_062.0},
        "nearly": {"clock": 996.0},
        "slow to answer": {"clock": 1_006.5},
    }

    assert readiness.clocks(seen, started=1_000.0, ended=1_002.0) == {"slow": -60.0, "fast": 60.0}


def test_the_room_of_a_folder_that_is_yet_to_be_made_is_that_of_its_disk(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    disk = status.f_blocks * status.f_frsize

    found = host_code("survey").room(str(tmp_path / "not" / "yet"))

    assert 0 < found <= disk
