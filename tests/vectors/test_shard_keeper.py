"""A process for each shard: started, started again when it dies, and gone with its parent."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sharded_stores import IN_PROCESSES, SCHEMA, found, records, sharded

from paceline.base.errors import Unreachable
from paceline.vectors.remote_shard import RemoteShard
from paceline.vectors.shard_keeper import ShardKeeper, wait_s
from paceline.vectors.sharded import ShardedCollection
from paceline.vectors.store import VectorStore

PARENT = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from sharded_stores import IN_PROCESSES, records, sharded
from paceline.vectors.store import VectorStore
store = VectorStore(Path(sys.argv[1]), IN_PROCESSES)
many = sharded(store, shards=2)
many.upsert(records(range(60)))
print(*[lane.shard.owner.pid for lane in many.lanes.values()], flush=True)
sys.stdin.read()
"""


def keeper_of(collection: ShardedCollection, name: str) -> ShardKeeper:
    """Who keeps the process of a shard."""
    shard = collection.lanes[name].shard
    assert isinstance(shard, RemoteShard)
    assert isinstance(shard.owner, ShardKeeper)
    return shard.owner


def test_a_process_that_keeps_dying_is_started_ever_later() -> None:
    """At once the first time, then after seconds, a minute at most."""
    assert [wait_s(deaths) for deaths in range(10)] == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert wait_s(10_000) == 60


@pytest.mark.slow
def test_a_killed_shard_is_named_and_comes_back(tmp_path: Path) -> None:
    """A search that is under way when it dies loses its part only, and the next ones until it is there again."""
    with VectorStore(tmp_path, IN_PROCESSES) as store:
        many = sharded(store)
        many.upsert(records(range(90)))
        keeper, answers, over = keeper_of(many, "shard-001"), [], threading.Event()

        def search() -> None:
            while not over.is_set():
                answers.append(many.query([1.0] * 8, 100))

        searching = threading.Thread(target=search)
        searching.start()
        os.kill(keeper.pid, signal.SIGKILL)
        assert keeper.wait_for_try(2, 60)
        over.set()
        searching.join()

        assert all(list(answer.missing) in ([], ["shard-001"]) for answer in answers)
        assert all(len(answer[0]) == 60 for answer in answers if not answer.missing)
        assert all(0 < len(answer[0]) < 60 for answer in answers if answer.missing)
        assert len(found(many)) == 60
        assert many.troubles == {}


@pytest.mark.slow
def test_a_shard_that_does_not_start_is_named_with_the_reason(tmp_path: Path) -> None:
    """And writes that concern it fail; closing does not wait for it."""
    with VectorStore(tmp_path, IN_PROCESSES) as store:
        sharded(store).upsert(records(range(90)))
    (tmp_path / "c" / "shard-001" / "manifest.json").write_text("{}")
    with VectorStore(tmp_path, IN_PROCESSES) as store:
        many = store.collection("c")
        answer = many.query([1.0] * 8, 100)

        assert list(answer.missing) == ["shard-001"]  # type: ignore[attr-defined]  # a Gathered
        assert "manifest.json" in many.troubles["shard-001"]
        with pytest.raises(Unreachable, match=r"'shard-001' is missing \(.*manifest.json"):
            many.upsert(records(range(100, 130)))


@pytest.mark.slow
def test_all_that_can_be_done_with_shards_can_be_done_in_processes(tmp_path: Path) -> None:
    """Stats, snapshots, compaction, verification, exact search, keys, and another number of shards."""
    with VectorStore(tmp_path / "store", IN_PROCESSES) as store:
        many = sharded(store, shards=2)
        many.upsert(records(range(90)))
        assert many.upsert_arrays(["a"], [[1.0] * 8], [{"n": 1}]) == 1
        many.compact()
        many.settle()

        assert many.stats().segments == 2
        assert many.verify() == {}
        assert found(many, exact=True, candidates=1000) == found(many, candidates=1000)
        many.snapshot(tmp_path / "s")
        assert len(found(store.restore("back", tmp_path / "s"))) == 61

        store.reshard("c", 3)
        pids = [keeper_of(many, name).pid for name in many.lanes]
        assert len(pids) == 3
        assert len(list(many.all_keys())) == 91
        store.reshard("c", 1)
        assert len(list(many.all_keys())) == 91
        pids += [keeper_of(many, name).pid for name in many.lanes]

    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.slow
def test_shards_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """They close their collections, and the next owner finds all that was acknowledged."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    handles = [os.pidfd_open(pid) for pid in pids]
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()

    assert len(pids) == 2
    for handle in handles:
        assert waited_for(handle)
        os.close(handle)
    with VectorStore(tmp_path, IN_PROCESSES) as store:
        assert store.collection("c").records == 60
        assert store.collection("c").schema == SCHEMA


def waited_for(process: int) -> bool:
    """Whether the process of a pidfd ends within a minute."""

    return bool(select.select([process], [], [], 60)[0])
