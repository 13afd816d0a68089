"""A store that was cut to nothing is not taken for a new one."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from state.backup import backup
from state.errors import StoreError
from state.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def test_an_emptied_store_is_refused_and_its_backup_named(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    Store.open(path).close()
    saved = backup(path, tmp_path / "backups" / "by-hand.db").path
    path.write_bytes(b"")
    for opened in (Store.open, Store.read):
        with pytest.raises(StoreError) as refused:
            opened(path)
        assert str(saved) in refused.value.hint
    assert path.stat().st_size == 0


def test_an_emptied_store_with_environments_beside_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    Store.open(path).close()
    (tmp_path / "environments" / "shop").mkdir(parents=True)
    path.write_bytes(b"")
    with pytest.raises(StoreError):
        Store.open(path)


def test_a_first_store_that_was_cut_short_is_made(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch()
    with closing(Store.open(path)) as store:
        assert store.environments() == []


def test_a_store_that_is_gone_is_not_made_anew_over_its_environments(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    (tmp_path / "environments" / "shop").mkdir(parents=True)
    for opened in (Store.open, Store.read):
        with pytest.raises(StoreError):
            opened(path)
    assert not path.exists()
