"""Shards together answer as one collection does, and without one of them they say so."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest
from collections_of import DIMENSIONS, STILL, vector, vectors

from paceline.base.errors import InvalidRequest, Unreachable
from paceline.vectors.collection import Collection
from paceline.vectors.fan_out import MOST_AT_ONCE, MOST_WAITING, Lane
from paceline.vectors.policy import Schema
from paceline.vectors.rebalance import add_shards, rebalance
from paceline.vectors.record import Record
from paceline.vectors.sharded import ShardedCollection
from paceline.vectors.slots import SLOTS, Move, SlotMap, slot_of

NAMES = ["a", "b", "c"]
COUNT = 300
SCHEMA = Schema(dimensions=DIMENSIONS)


def records(count: int = COUNT, first: int = 0) -> list[Record]:
    """Of seeds from `first` on; every third in the namespace `other`."""
    return [
        Record(f"v{i}", vector(i), {"n": i, "odd": i % 2 == 1}, "other" if i % 3 == 0 else "")
        for i in range(first, first + count)
    ]


def shard(folder: Path, name: str) -> Collection:
    """An empty one."""
    return Collection.create(folder / name, SCHEMA, policy=STILL)


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Collection]:
    """One collection of all records."""
    with shard(tmp_path, "whole") as made:
        made.upsert(records())
        yield made


@pytest.fixture
def sharded(tmp_path: Path) -> Iterator[ShardedCollection]:
    """The same in three shards."""
    made = ShardedCollection({name: shard(tmp_path, name) for name in NAMES}, SCHEMA, folder=tmp_path)
    made.upsert(records())
    yield made
    made.close()


class Held:
    """A shard whose searches wait until they are let go."""

    def __init__(self, shard: Collection) -> None:
        self._shard = shard
        self.free = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shard, name)

    def query(self, *args: Any, **options: Any) -> Any:
        self.free.wait(30)
        return self._shard.query(*args, **options)


def ids(found: list[Any]) -> list[str]:
    return [match.id for match in found]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"namespace": "other"},
        {"filter": {"odd": True}},
        {"filter": {"n": {"$lt": 40}}, "include_metadata": True},
    ],
)
def test_shards_answer_as_one_collection(
    whole: Collection, sharded: ShardedCollection, options: dict[str, Any]
) -> None:
    """The same ids, best first, of several queries at once."""
    asked = vectors(4, first=1000)
    expected = whole.query(asked, 10, **options)

    found = sharded.query(asked, 10, **options)

    assert not found.partial
    assert [ids(one) for one in found] == [ids(one) for one in expected]
    assert [m.metadata for m in found[0]] == [m.metadata for m in expected[0]]


def test_every_shard_has_the_records_of_its_slots(sharded: ShardedCollection) -> None:
    """And all of them together each record once."""
    held = {name: list(lane.shard.all_keys()) for name, lane in sharded.lanes.items()}

    assert sum(len(keys) for keys in held.values()) == COUNT
    for name, keys in held.items():
        assert {sharded.slots.owner(slot_of(key[1])) for key in keys} == {name}


def test_records_are_fetched_changed_and_deleted_where_they_are(sharded: ShardedCollection) -> None:
    """By id, and by filter on all shards."""
    version = sharded.version
    sharded.update("v1", metadata={"n": -1})

    assert sharded.fetch(["v1", "v2", "nobody"])["v1"].metadata == {"n": -1, "odd": True}
    assert set(sharded.fetch(["v1", "v2", "nobody"])) == {"v1", "v2"}
    assert sharded.delete(["v1", "nobody"]) == 1
    assert sharded.delete(filter={"odd": False}) == len([i for i in range(COUNT) if i % 2 == 0 and i % 3])
    assert sharded.delete(namespace="other", everything=True) == COUNT // 3
    assert sharded.version > version
    assert ids(sharded.query(vector(2), 1000)[0]) != []
    assert all(int(name[1:]) % 2 for name in ids(sharded.query(vector(2), 1000)[0]))


def test_a_lost_shard_costs_its_part_and_is_named(whole: Collection, sharded: ShardedCollection) -> None:
    """The rest is what one collection would say without its records."""
    sharded.lanes["b"].shard.close()

    found = sharded.query(vector(1), 50)

    assert found.partial
    assert list(found.missing) == ["b"]
    assert "closed" in found.missing["b"]
    rest = [one for one in ids(whole.query(vector(1), COUNT)[0]) if sharded.slots.owner(slot_of(one)) != "b"]
    assert ids(found[0]) == rest[:50]


def test_a_late_shard_is_named_as_well(tmp_path: Path) -> None:
    """After the time that the query has."""
    late = Held(shard(tmp_path, "b"))
    sharded = ShardedCollection({"a": shard(tmp_path, "a"), "b": late}, SCHEMA)
    sharded.upsert(records(30))

    found = sharded.query(vector(1), 5, timeout_s=0.5)

    assert found.missing == {"b": "no answer in time"}
    assert len(found[0]) == 5
    late.free.set()
    assert not sharded.query(vector(1), 5).partial
    sharded.close()


def test_a_shard_that_hangs_takes_no_more_calls(tmp_path: Path) -> None:
    """It costs a bounded number of threads; once it answers it is used again."""
    lane, free = Lane("b", shard(tmp_path, "b")), threading.Event()
    held = [lane.start(lambda _: free.wait(30)) for _ in range(MOST_AT_ONCE + MOST_WAITING)]

    with pytest.raises(Unreachable, match=r"shard 'b' has 264 calls under way"):
        lane.start(lambda shard: shard.version).result()

    free.set()
    wait(held)
    assert lane.start(lambda shard: shard.version).result() == 0
    lane.close()


def test_a_write_to_a_lost_shard_fails_and_says_what_was_written(sharded: ShardedCollection) -> None:
    """Written again once the shard is there, nothing is twice."""
    sharded.lanes["c"].shard.close()

    with pytest.raises(
        Unreachable, match=r"shard 'c' is missing .*; 2 of 3 shards took their part: write it again"
    ):
        sharded.upsert(records(50, first=1000))
    with pytest.raises(Unreachable, match=r"shard 'c' is missing"):
        sharded.fetch([f"v{i}" for i in range(50)])


def test_no_shard_at_all_is_an_error(sharded: ShardedCollection) -> None:
    """Rather than an empty answer."""
    for lane in sharded.lanes.values():
        lane.shard.close()

    with pytest.raises(Unreachable, match="no shard answers"):
        sharded.query(vector(1))


@pytest.mark.parametrize(
    ("options", "param"),
    [({"k": 0}, "k"), ({"filter": {"m": 1}}, "filter.m"), ({"filter": {"n": "x"}}, "filter.n")],
)
def test_what_is_wrong_with_a_query_is_the_callers_fault(
    sharded: ShardedCollection, options: dict[str, Any], param: str
) -> None:
    """It makes no shard missing."""
    with pytest.raises(InvalidRequest) as caught:
        sharded.query(vector(1), **options)

    assert caught.value.param == param


def test_a_field_that_one_shard_alone_has_may_be_asked_for(sharded: ShardedCollection) -> None:
    """A filter is checked against all shards."""
    sharded.upsert([Record("lone", vector(5), {"colour": "red"})])

    assert ids(sharded.query(vector(1), filter={"colour": "red"})[0]) == ["lone"]


# -- moving slots ---------------------------------------------------------------------------------------------


def test_two_more_shards_take_their_slots_and_nothing_else_moves(
    whole: Collection, sharded: ShardedCollection, tmp_path: Path
) -> None:
    """Every record is afterwards where the new map wants it, once; answers do not change."""
    before = {name: set(lane.shard.all_keys()) for name, lane in sharded.lanes.items()}
    told: list[tuple[int, int]] = []
    add_shards(sharded, {name: shard(tmp_path, name) for name in ("d", "e")})

    moves = rebalance(sharded, lambda moved, all_of_them: told.append((moved, all_of_them))).moves

    after = {name: set(lane.shard.all_keys()) for name, lane in sharded.lanes.items()}
    assert {move.target for move in moves} == {"d", "e"}
    assert told[-1] == (len(moves), len(moves))
    assert all(after[name] <= before[name] for name in NAMES)
    assert sum(len(keys) for keys in after.values()) == COUNT
    assert sharded.slots.owners == SlotMap.of(["a", "b", "c", "d", "e"]).owners
    assert ids(sharded.query(vector(1), 100)[0]) == ids(whole.query(vector(1), 100)[0])
    assert sharded.fetch(["v7"])["v7"].metadata == {"n": 7, "odd": True}
    assert SlotMap.read(tmp_path / "slots.json") == sharded.slots


def test_writes_and_searches_go_on_while_slots_move(sharded: ShardedCollection, tmp_path: Path) -> None:
    """No search misses a record that was there all the time, no write is lost."""
    add_shards(sharded, {"d": shard(tmp_path, "d")})
    everything = {f"v{i}" for i in range(COUNT) if i % 3}
    over, written, seen = threading.Event(), [], []

    def write() -> None:
        number = 10_000
        while not over.is_set():
            sharded.upsert([Record(f"v{number}", vector(number), {"n": number})])
            sharded.update("v1", metadata={"n": number})
            written.append(number)
            number += 1

    def search() -> None:
        while not over.is_set():
            seen.append(set(ids(sharded.query(vector(1), 5000)[0])))

    threads = [threading.Thread(target=write), threading.Thread(target=search)]
    for thread in threads:
        thread.start()
    rebalance(sharded)
    over.set()
    for thread in threads:
        thread.join()

    assert seen
    assert all(everything <= one for one in seen)
    assert len(sharded.fetch([f"v{number}" for number in written])) == len(written) > 0
    assert sharded.fetch(["v1"])["v1"].metadata == {"n": written[-1], "odd": True}


def test_what_an_interrupted_move_left_is_cleared_away(sharded: ShardedCollection, tmp_path: Path) -> None:
    """A copy that does not count is not found, however old, and is deleted by the next `rebalance`."""
    slot = slot_of("v1")
    owner = sharded.slots.owner(slot)
    other = next(name for name in NAMES if name != owner)
    sharded.lanes[other].shard.upsert([Record("v1", vector(2), {"n": -5})])

    found = sharded.query(vector(2), 2, include_metadata=True)[0]
    assert ids(found)[0] == "v2"
    assert len(found) == 2
    assert all(match.metadata["n"] != -5 for match in found)

    assert rebalance(sharded).moves == []
    assert ("", "v1") not in set(sharded.lanes[other].shard.all_keys())
    assert sharded.fetch(["v1"])["v1"].metadata["n"] == 1


def test_an_interrupted_rebalance_goes_on(sharded: ShardedCollection, tmp_path: Path) -> None:
    """The map in the folder says what has moved; opened again, the rest follows."""
    add_shards(sharded, {"d": shard(tmp_path, "d")})

    stopped: list[int] = []

    def stop(moved: int, _: int) -> None:
        if moved >= 20:
            stopped.append(moved)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebalance(sharded, stop)
    sharded.close()
    again = ShardedCollection(
        {n: Collection.open(tmp_path / n) for n in [*NAMES, "d"]}, SCHEMA, folder=tmp_path
    )

    assert len(again.slots.slots_of("d")) == stopped[0]
    moves = rebalance(again).moves
    assert len(again.slots.slots_of("d")) == stopped[0] + len(moves)
    assert sum(1 for lane in again.lanes.values() for _ in lane.shard.all_keys()) == COUNT
    again.close()


def test_shards_must_be_those_of_the_slots(tmp_path: Path) -> None:
    """One that is left out would take its records along unseen; a name can join once."""
    made = shard(tmp_path, "a")
    with pytest.raises(InvalidRequest, match=r"shards \['a', 'b'\], given are \['a'\]"):
        ShardedCollection({"a": made}, SCHEMA, SlotMap.of(["a", "b"]))

    sharded = ShardedCollection({"a": made}, SCHEMA)
    with pytest.raises(InvalidRequest, match=r"shards \['a'\] are there already"):
        add_shards(sharded, {"a": made})
    sharded.close()


def test_a_move_is_a_slot_from_here_to_there() -> None:
    """Named by what it is, so that a plan can be shown before it runs."""
    moves = SlotMap.of(["a"]).joined_by(["b"]).moves()

    assert moves[0] == Move(moves[0].slot, "a", "b")
    assert 0.4 * SLOTS < len(moves) < 0.6 * SLOTS


def test_words_of_shards_are_merged_by_score(tmp_path: Path) -> None:
    """The best of all, filters and namespaces respected; a lost shard is named."""
    pytest.importorskip("tantivy")
    schema = Schema(dimensions=DIMENSIONS, text_field="text")
    made = ShardedCollection(
        {name: Collection.create(tmp_path / name, schema, policy=STILL) for name in NAMES}, schema
    )
    made.upsert(
        Record(f"v{i}", vector(i), {"n": i, "text": "kite " + "filling " * (i % 50)}) for i in range(200)
    )
    made.upsert([Record("v1", vector(1), {"text": "kite"}, "other")])

    found = made.by_words("kites", 20, include_metadata=True)
    assert [match.score for match in found] == sorted((match.score for match in found), reverse=True)
    # How rare a word is counts on each shard by itself; among those of one shard the shorter text comes first.
    for shard in NAMES:
        lengths = sorted(i % 50 for i in range(200) if made.slots.owner(slot_of(f"v{i}")) == shard)
        mine = [int(match.id[1:]) % 50 for match in found if made.slots.owner(slot_of(match.id)) == shard]
        assert mine == lengths[: len(mine)]
    assert [len(found), found.missing] == [20, {}]
    few = made.by_words("kites", 20, filter={"n": {"$lt": 9}})
    assert {match.id for match in few} == {f"v{i}" for i in range(9)}
    assert [match.id for match in made.by_words("kites", namespace="other")] == ["v1"]
    with pytest.raises(InvalidRequest, match="no record has the field 'm'"):
        made.by_words("kites", filter={"m": 1})
    made.lanes["b"].shard.close()
    assert list(made.by_words("kites", 200).missing) == ["b"]
    made.close()


def test_shards_are_reencoded_together(sharded: ShardedCollection) -> None:
    """What one refuses, none does."""
    sharded.compact()
    sharded.reencode("binary")
    sharded.settle()

    assert sharded.schema.precision == "binary"
    assert {lane.shard.stats().precisions["binary"] for lane in sharded.lanes.values()} == {1.0}
    assert sharded.query(vector(7), 1)[0][0].id == "v7"
    with pytest.raises(InvalidRequest, match="is unknown"):
        sharded.reencode("int4")  # type: ignore[arg-type]  # what a client may send
