"""Another number of shards, while records are read and written, and over crashes."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from collections_of import DIMENSIONS, STILL, vector, vectors
from sharded_stores import SCHEMA, found, held, records, sharded

from paceline.base.errors import InvalidRequest, PacelineError
from paceline.vectors.any_collection import AnyCollection
from paceline.vectors.policy import Schema
from paceline.vectors.record import Record
from paceline.vectors.reshard import go_on
from paceline.vectors.sharded import ShardedCollection
from paceline.vectors.sharded_folder import open_sharded
from paceline.vectors.slots import SLOTS, SlotMap
from paceline.vectors.split import split
from paceline.vectors.store import VectorStore

COUNT = 300


class Stopped(Exception):  # noqa: N818 - what a crash is to a test
    """Ends a reshard where a crash would."""


def stop_after(slots: int):
    """A progress that ends it when so many have moved."""

    def progress(moved: int, _: int) -> None:
        if moved >= slots:
            raise Stopped

    return progress


def everything(collection: AnyCollection) -> list[tuple[str, str]]:
    """All keys, sorted: each once."""
    return sorted(collection.all_keys())


def test_twenty_shards_become_twenty_two(tmp_path: Path) -> None:
    """A tenth of the records moves, and every record is found by search and by id at every step of it."""
    expected = {f"v{seed}" for seed in range(COUNT) if seed % 3}
    with VectorStore(tmp_path, STILL) as store:
        many = sharded(store, shards=20)
        many.upsert(records(range(COUNT)))
        steps: list[tuple[int, int]] = []

        def look(moved: int, of: int) -> None:
            steps.append((moved, of))
            if len(steps) % 8 == 1:
                assert set(found(many)) == expected
                assert len(many.fetch([f"v{seed}" for seed in range(COUNT)])) == len(expected)

        answer = store.reshard("c", 22, look)

        assert 0.07 * SLOTS < answer.slots_moved < 0.115 * SLOTS
        assert 0.05 * COUNT < answer.records_moved < 0.14 * COUNT
        assert steps[-1] == (answer.slots_moved, answer.slots_moved)
        assert many.slots.owners == SlotMap.of([f"shard-{i:03d}" for i in range(22)]).owners
        assert len(everything(many)) == COUNT == many.records
        assert store.reshard("c", 22).slots_moved == 0


def test_fewer_shards_leave_nothing_behind(tmp_path: Path) -> None:
    """Their records are elsewhere, their folders gone, and the version does not fall."""
    with VectorStore(tmp_path, STILL) as store:
        many = sharded(store, shards=5)
        many.upsert(records(range(COUNT)))
        keys, version = everything(many), many.version

        store.reshard("c", 2)

        assert held(tmp_path / "c") == ["shard-000", "shard-001", "slots.json"]
        assert everything(many) == keys
        assert many.version >= version
    with VectorStore(tmp_path, STILL) as store:
        again = store.collection("c")
        assert everything(again) == keys
        assert again.version >= version
        assert store.reshard("c", 1).records_moved > 0
        assert everything(again) == keys


@pytest.mark.parametrize(("before", "after"), [(1, 4), (3, 5), (5, 3)])
def test_reads_and_writes_go_on_while_shards_come_and_go(tmp_path: Path, before: int, after: int) -> None:
    """No search misses a record that was there all the time, no acknowledged write is lost."""
    with VectorStore(tmp_path, STILL) as store:
        if before == 1:
            store.create("c", SCHEMA)
            split_now(store)
        many = store.collection("c") if before == 1 else sharded(store, shards=before)
        many.upsert(records(range(COUNT)))
        expected = {f"v{seed}" for seed in range(COUNT) if seed % 3}
        over, written, seen = threading.Event(), [], []

        def write() -> None:
            number = 10_000
            while not over.is_set():
                many.upsert([Record(f"w{number}", vector(number), {"n": number})])
                many.update("v1", metadata={"n": number})
                many.delete([f"w{number - 1}"])
                written.append(number)
                number += 1

        def search() -> None:
            while not over.is_set():
                seen.append(set(found(many)))

        threads = [threading.Thread(target=work) for work in (write, search)]
        for thread in threads:
            thread.start()
        try:
            store.reshard("c", after)
        finally:
            over.set()
            for thread in threads:
                thread.join()

        assert seen
        assert all(expected <= one for one in seen)
        assert many.fetch(["v1"])["v1"].metadata == {"n": written[-1]}
        assert {name for _, name in many.all_keys() if name[0] == "w"} == {f"w{written[-1]}"}


def split_now(store: VectorStore) -> None:
    """Give a plain collection one shard."""
    store.close()
    split(store.folder / "c")


def test_a_collection_without_shards_becomes_one_with(tmp_path: Path) -> None:
    """With all its records, and with the files beside it that are not its own."""
    with VectorStore(tmp_path, STILL) as store:
        one = store.create("c", SCHEMA)
        one.upsert(records(range(COUNT)))
        one.compact()
        one.upsert(records(range(COUNT, COUNT + 30)))
        one.delete(["v1"])
        keys, before = everything(one), one.version
        (tmp_path / "c" / "recall.json").write_text("{}")

        assert store.reshard("c", 1).slots_moved == 0
        assert store.collection("c") is one
        answer = store.reshard("c", 3)

        many = store.collection("c")
        assert isinstance(many, ShardedCollection)
        assert everything(many) == keys
        assert many.version >= before
        assert answer.records_moved < len(keys)
        assert held(tmp_path / "c") == ["recall.json", "shard-000", "shard-001", "shard-002", "slots.json"]
        with pytest.raises(PacelineError, match="closed"):
            one.upsert(records([1]))


@pytest.mark.parametrize(
    "schema", [{"reduction": "truncate", "kept": 4}, {"metric": "l2"}, {"metric": "dot"}]
)
def test_vectors_move_as_they_are_stored(tmp_path: Path, schema: dict) -> None:
    """Reduced ones are not reduced again, and no other keeps less than it had."""
    with VectorStore(tmp_path, STILL) as store:
        many = sharded(store, shards=2, **schema)
        many.upsert(records(range(60)))
        before = many.fetch([f"v{seed}" for seed in range(60)])

        store.reshard("c", 6)

        after = many.fetch(list(before))
        assert set(after) == set(before)
        assert all(abs(after[name].vector - before[name].vector).max() < 1e-3 for name in before)
        assert many.query(vectors(1)[0], 1)[0][0].score == pytest.approx(
            many.query(vectors(1)[0], 1, exact=True)[0][0].score, abs=1e-3
        )


@pytest.mark.parametrize(("before", "after"), [(2, 4), (4, 2)])
@pytest.mark.parametrize("slots", [1, 100])
def test_what_a_crash_interrupts_goes_on_at_the_next_opening(
    tmp_path: Path, before: int, after: int, slots: int
) -> None:
    """By itself; each record is there once at any time."""
    with VectorStore(tmp_path, STILL) as store:
        many = sharded(store, shards=before)
        many.upsert(records(range(COUNT)))
        keys = everything(many)
        with pytest.raises(Stopped):
            store.reshard("c", after, stop_after(slots))
        assert everything(many) == keys

    again, folder = open_sharded(tmp_path / "c", STILL)
    assert everything(again) == keys
    thread = go_on(again, folder)
    assert thread is not None
    thread.join(60)

    assert everything(again) == keys
    assert sorted(again.lanes) == [f"shard-{i:03d}" for i in range(after)]
    assert again.slots.owners == SlotMap.of(again.slots.shards).owners
    assert again.records == COUNT
    assert go_on(again, folder) is None
    again.close()


def test_copies_of_the_last_move_before_a_crash_are_cleared_away(tmp_path: Path) -> None:
    """All slots were where they belong, but the old copies were not deleted yet."""
    with VectorStore(tmp_path, STILL) as store:
        many = sharded(store, shards=2)
        many.upsert(records(range(60)))
        keys = everything(many)
        key = ("", "v1")
        owner = next(name for name, lane in many.lanes.items() if key in set(lane.shard.all_keys()))
        other = next(name for name in many.lanes if name != owner)
        many.lanes[other].shard.upsert([Record("v1", vector(9), {"n": -1})])
        many.put_slots(SlotMap(many.slots.shards, many.slots.owners, is_moving=True))

    again, folder = open_sharded(tmp_path / "c", STILL)
    thread = go_on(again, folder)
    assert thread is not None
    thread.join(60)

    assert everything(again) == keys
    assert key not in set(again.lanes[other].shard.all_keys())
    assert again.fetch(["v1"])["v1"].metadata == {"n": 1}
    again.close()


def test_shards_that_never_joined_are_removed(tmp_path: Path) -> None:
    """A crash while they were made left their folders."""
    with VectorStore(tmp_path, STILL) as store:
        sharded(store, shards=2).upsert(records(range(60)))
    shutil.copytree(tmp_path / "c" / "shard-001", tmp_path / "c" / "shard-002")
    with VectorStore(tmp_path, STILL) as store:
        assert len(everything(store.collection("c"))) == 60
        assert held(tmp_path / "c") == ["shard-000", "shard-001", "slots.json"]
        store.reshard("c", 3)
        assert len(everything(store.collection("c"))) == 60


def test_a_crash_while_a_plain_collection_is_given_shards_loses_nothing(tmp_path: Path) -> None:
    """Before the map of slots is there it is the plain one, after it the sharded one."""
    with VectorStore(tmp_path, STILL) as store:
        store.create("c", SCHEMA).upsert(records(range(60)))
    shutil.copytree(tmp_path / "c", tmp_path / "before")
    shutil.copytree(tmp_path / "c", tmp_path / "before" / "shard-000")  # no slots.json yet
    shutil.copytree(tmp_path / "c", tmp_path / "after")
    shutil.copytree(tmp_path / "c", tmp_path / "after" / "shard-000")
    SlotMap.of(["shard-000"]).write(tmp_path / "after" / "slots.json")  # the plain one not yet removed

    with VectorStore(tmp_path, STILL) as store:
        assert not isinstance(store.collection("before"), ShardedCollection)
        for name in ("before", "after"):
            assert len(everything(store.collection(name))) == 60
            store.reshard(name, 2)
            assert len(everything(store.collection(name))) == 60
            assert held(tmp_path / name) == ["shard-000", "shard-001", "slots.json"]


def test_shards_change_one_call_at_a_time(tmp_path: Path) -> None:
    """Another call is refused, as are numbers that cannot be; closing ends a move between two slots."""
    with VectorStore(tmp_path, STILL) as store:
        many = sharded(store, shards=2)
        many.upsert(records(range(60)))
        refused: list[str] = []

        def again(moved: int, _: int) -> None:
            if not refused:
                with pytest.raises(InvalidRequest) as caught:
                    store.reshard("c", 4)
                refused.append(caught.value.message)
                many.is_closing.set()

        with pytest.raises(PacelineError, match=r"closed after \d+ of \d+ slots had moved"):
            store.reshard("c", 3, again)
        assert "moving already" in refused[0]
        with pytest.raises(InvalidRequest, match="take 1 to 256"):
            store.reshard("c", 257)


def test_schemas_of_new_shards_are_those_of_the_old(tmp_path: Path) -> None:
    """What they hold, and what pca learned."""
    schema = Schema(dimensions=DIMENSIONS, reduction="pca", kept=4)
    with VectorStore(tmp_path, STILL) as store:
        many = store.create("c", schema, sample=vectors(50), shards=2)
        many.upsert(records(range(60)))
        before = found(many)

        store.reshard("c", 4)

        assert found(many) == before
