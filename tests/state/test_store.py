"""The store: who may write, what is written together, and what an unusable one says."""

from __future__ import annotations

import sqlite3
import stat
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from state import backup
from state.errors import ConflictError, OutdatedTokenError, StoreError
from state.history import new_operation_id
from state.machine import Position, State
from state.store import Store
from tests.state.store_helpers import HOST, begun, created, lease, python, read_only, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from state.records import EnvironmentRecord

PROVISIONED = Position.of(State.PROVISIONED)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(tmp_path / ".deployer" / "state.db")) as store:
        yield store


def _finish(
    store: Store, record: EnvironmentRecord, operation_id: str, token: int
) -> EnvironmentRecord:
    return store.finish(
        record,
        "provision",
        operation_id=operation_id,
        token=token,
        trigger="succeed_provision",
        position=PROVISIONED,
        outcome="succeeded",
        seconds=1.0,
        inputs={"of": "provision"},
    )


# ---- who may write


def test_a_record_that_was_changed_meanwhile_is_not_overwritten(store: Store) -> None:
    record = created(store)
    token = lease(store)
    begun(store, record, "provision", token)

    with pytest.raises(ConflictError):
        begun(store, record, "provision", token)

    now = store.environment("shop")
    assert now and (now.state, now.version) == (State.PROVISIONING, 2)


@pytest.mark.parametrize(
    "write",
    [
        lambda s, r, op, t: started(s, r, "configure", t),
        lambda s, r, op, t: s.start_step("shop", op, t, ("a", "A")),
        lambda s, r, op, t: s.end_step("shop", op, t, outcome="done", attempts=1, seconds=1),
        lambda s, r, op, t: _finish(s, r, op, t),
        lambda s, r, op, t: s.end_operation(
            r, operation_id=op, token=t, outcome="failed", seconds=1
        ),
        lambda s, r, op, t: s.settle(r, token=t, operation_id="other", error={}),
        lambda s, r, op, t: s.register_undo("shop", op, t, "stop-services", {}),
        lambda s, r, op, t: s.purge("shop", t),
    ],
)
def test_whoever_lost_the_lease_writes_nothing_any_more(
    store: Store, write: Callable[[Store, EnvironmentRecord, str, int], object]
) -> None:
    record = created(store)
    old = lease(store)
    record, operation_id = begun(store, record, "provision", old)
    lease(store)
    before = _dump(store)

    with pytest.raises(OutdatedTokenError):
        write(store, record, operation_id, old)

    assert _dump(store) == before


def test_tokens_grow_for_each_environment(store: Store) -> None:
    created(store)
    tokens = [lease(store) for _ in range(3)]

    assert tokens == sorted(set(tokens))
    assert store.lease("shop")["token"] == tokens[-1]


def test_no_environment_is_created_over_one_that_exists(store: Store) -> None:
    created(store)

    with pytest.raises(ConflictError):
        created(store)

    assert [r.generation for r in store.generations("shop")] == [1]


def test_writers_in_several_processes_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    code = """
import sys
from contextlib import closing
from pathlib import Path
from state.store import Store
from tests.state.store_helpers import begun, created, lease
number = sys.argv[2]
for turn in range(5):
    with closing(Store.open(Path(sys.argv[1]))) as store:
        name = f"env-{number}-{turn}"
        record = created(store, name, web=20000 + int(number) * 100 + turn)
        lease(store, "shared")
        begun(store, record, "provision", lease(store, name))
"""
    writers = [python(code, path, number) for number in range(4)]
    errors = [writer.communicate(timeout=100)[1] for writer in writers]

    assert [writer.returncode for writer in writers] == [0] * 4, errors
    with closing(Store.open(path)) as store:
        assert len(store.environments()) == 20
        assert {r.state for r in store.environments()} == {State.PROVISIONING}
        assert len(store.reserved_ports()) == 20


def test_a_port_is_reserved_once_in_a_workspace(store: Store) -> None:
    created(store, web=8080)

    with pytest.raises(StoreError):
        created(store, "other", web=8080)

    assert store.reserved_ports() == {8080: "shop"}
    assert store.environment("other") is None


# ---- what is written together


def test_an_intent_is_recorded_with_all_that_belongs_to_it(store: Store) -> None:
    record, operation_id = begun(
        store,
        created(store),
        "provision",
        lease(store),
        hosts=[HOST],
        step=("hosts", "Make hosts"),
    )

    assert record.position == Position(State.PROVISIONING, 0)
    assert record.intents == {"provision": {"of": "provision"}}
    assert [h.name for h in record.hosts] == ["localhost"]
    operation = store.operation(operation_id)
    assert operation and (operation.acting, operation.outcome) == (1, None)
    assert [(s.name, s.outcome) for s in store.steps(operation_id)] == [("hosts", "started")]


def test_an_end_is_recorded_with_all_that_belongs_to_it(store: Store) -> None:
    token = (created(store), lease(store))[1]
    record = store.environment("shop")
    assert record
    record, operation_id = begun(store, record, "provision", token, hosts=[HOST])

    record = _finish(store, record, operation_id, token)

    assert record.position == PROVISIONED
    assert record.inputs == {"provision": {"of": "provision"}}
    operation = store.operation(operation_id)
    assert operation and (operation.outcome, operation.to_state) == ("succeeded", "provisioned")
    assert [(t.trigger, t.to_rank) for t in store.transitions(record.id)] == [
        ("succeed_create", 0),
        ("begin_provision", 0),
        ("succeed_provision", 1),
    ]


def test_nothing_stays_of_a_change_that_breaks_off(store: Store) -> None:
    created(store)
    before = _dump(store)

    with pytest.raises(RuntimeError), store.transaction():
        store._connection.execute("DELETE FROM transitions")
        raise RuntimeError

    assert _dump(store) == before


def test_what_a_dead_operation_left_is_settled_as_the_verbs_failure(store: Store) -> None:
    record, dead = begun(
        store, created(store), "provision", lease(store), step=("hosts", "Make hosts")
    )

    token = lease(store)
    record = store.settle(record, token=token, operation_id="next", error={"code": "INTERRUPTED"})

    assert record.position == Position(State.PROVISION_FAILED, 0)
    operation = store.operation(dead)
    assert operation and operation.outcome == "interrupted"
    assert [s.outcome for s in store.steps(dead)] == ["interrupted"]
    assert store.open_operations(record.id) == []


def test_a_dead_operation_that_only_looked_leaves_the_state_alone(store: Store) -> None:
    record = created(store)
    dead = started(store, record, "provision", lease(store))

    after = store.settle(record, token=lease(store), operation_id="next", error={})

    assert after.position == record.position
    operation = store.operation(dead)
    assert operation and operation.outcome == "interrupted"


def test_serving_is_kept_when_hosts_are_recorded_anew(store: Store) -> None:
    token = (created(store), lease(store))[1]
    record = store.environment("shop")
    assert record
    record, operation_id = begun(store, record, "provision", token, hosts=[HOST], serving=7)
    record = _finish(store, record, operation_id, token)

    record, _ = begun(store, record, "provision", token, hosts=[HOST])

    assert record.serving == [7]


def test_a_new_generation_inherits_nothing(store: Store) -> None:
    token = (created(store, web=8080), lease(store))[1]
    record = store.environment("shop")
    assert record
    first = record.uuid
    record, operation_id = begun(store, record, "destroy", token, hosts=[HOST], serving=3)
    store.finish(
        record,
        "destroy",
        operation_id=operation_id,
        token=token,
        trigger="succeed_destroy",
        position=Position.of(State.DESTROYED),
        outcome="succeeded",
        seconds=1.0,
        forget_releases=True,
        forget_world=True,
    )
    assert store.reserved_ports() == {}

    record = created(store)

    assert (record.generation, record.position) == (2, Position.of(State.CREATED))
    assert record.uuid != first
    assert (record.hosts, record.inputs, record.intents) == ([], {}, {})
    assert store.releases(record.id) == []
    assert store.checkpoint(record.id, "destroy") == {}
    assert "destroy" in [o.verb for o in store.operations("shop")], "the history stays"


# ---- reading, and stores that can't be used


def test_reading_creates_nothing(tmp_path: Path) -> None:
    folder = tmp_path / ".deployer"

    assert Store.read(folder / "state.db") is None
    assert not folder.exists()


def test_the_store_is_closed_to_others_whatever_the_umask(store: Store) -> None:
    code = """
import os, sys
from pathlib import Path
from state.store import Store
os.umask(0)
Store.open(Path(sys.argv[1]))
"""
    path = store.path.parent.parent / "open" / "state.db"
    assert python(code, path).wait(60) == 0

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_store_in_a_read_only_folder_can_be_read_and_not_written() -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        with closing(Store.open(folder / "state.db")) as store:
            created(store)
        (folder / "state.db").chmod(0o644)

        with read_only(folder):
            with closing(Store.read(folder / "state.db")) as reader:  # type: ignore[type-var]
                names = [r.name for r in reader.environments()]  # type: ignore[union-attr]
            with pytest.raises(StoreError) as refused:
                Store.open(folder / "state.db")

    assert names == ["shop"]
    assert refused.value.hint


@pytest.mark.parametrize("way", ["no database", "truncated", "empty", "a broken page"])
@pytest.mark.parametrize("opened", [Store.open, Store.read])
def test_a_damaged_store_is_refused_naming_the_newest_backup(
    tmp_path: Path, way: str, opened: Callable[[Path], Store]
) -> None:
    path = tmp_path / "state.db"
    with closing(Store.open(path)) as store:
        created(store)
    backup.backup(path, backup.folder(path) / "older.db")
    newest = backup.folder(path) / "newest.db"
    backup.backup(path, newest)
    logs = tmp_path / "environments" / "shop" / "logs"
    logs.mkdir(parents=True)
    (logs / "one.jsonl").touch()
    whole = path.read_bytes()
    damaged = {
        "no database": b"This is no database, but a text that is long enough to be one." * 100,
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "a broken page": whole[:100] + b"\xff" * 4000 + whole[4100:],
    }
    path.write_bytes(damaged[way])

    with pytest.raises(StoreError) as refused:
        opened(path).environments()

    assert str(newest) in refused.value.hint
    assert path.read_bytes() == damaged[way], "nothing is lost by trying"


def _dump(store: Store) -> list[str]:
    with closing(sqlite3.connect(f"file:{store.path}?mode=ro", uri=True)) as connection:
        return [line for line in connection.iterdump() if "leases" not in line]


def test_ids_of_operations_a_moment_apart_sort_by_time() -> None:
    ids = []
    for _ in range(20):
        ids.append(new_operation_id())
        time.sleep(0.002)

    assert ids == sorted(ids)
