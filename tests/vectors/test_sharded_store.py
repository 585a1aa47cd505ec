"""Collections of several shards in a store: made, opened, copied and dropped as those of one."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from collections_of import DIMENSIONS, STILL, add, ids_of, names, vector, vectors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sharded_stores import SCHEMA, found, held, records, sharded
from test_segment import flip

from paceline.base.errors import FolderInUse, InvalidRequest, NotFound, Unreachable
from paceline.vectors.collection import Collection
from paceline.vectors.gathered import missing_of
from paceline.vectors.policy import Schema
from paceline.vectors.sharded import ShardedCollection
from paceline.vectors.store import VectorStore


def test_sharded_collections_are_made_listed_reopened_and_dropped(tmp_path: Path) -> None:
    """Beside those of one shard."""
    with VectorStore(tmp_path, STILL) as store:
        sharded(store, "many").upsert(records(range(60)))
        store.create("one", SCHEMA)
        assert store.names() == ["many", "one"]
        assert held(tmp_path / "many") == ["shard-000", "shard-001", "shard-002", "slots.json"]
    with VectorStore(tmp_path, STILL) as store:
        many = store.collection("many")
        assert isinstance(many, ShardedCollection)
        assert isinstance(store.collection("one"), Collection)
        assert many.schema == SCHEMA
        assert len(found(many)) == 40
        assert many.records == 60
        store.drop("many")
        assert store.names() == ["one"]
        assert held(tmp_path) == ["one"]


@pytest.mark.parametrize("shards", [0, -1, 257])
def test_a_number_of_shards_that_cannot_be_is_refused(tmp_path: Path, shards: int) -> None:
    """And nothing is made."""
    with VectorStore(tmp_path) as store:
        with pytest.raises(InvalidRequest, match="take 1 to 256"):
            store.create("c", SCHEMA, shards=shards)
        assert store.names() == []


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    """Whatever kind it is of."""
    with VectorStore(tmp_path) as store:
        store.create("one", SCHEMA)
        with pytest.raises(InvalidRequest, match="exists"):
            store.create("one", SCHEMA, shards=2)


def test_a_sharded_folder_has_one_owner(tmp_path: Path) -> None:
    """Another process is told who has it."""
    with VectorStore(tmp_path) as store:
        sharded(store)
        with VectorStore(tmp_path) as second, pytest.raises(FolderInUse):
            second.collection("c")


def test_arrays_are_spread_as_records_are(tmp_path: Path) -> None:
    """What was written in columns is found by id and by vector."""
    with VectorStore(tmp_path, STILL) as store:
        many = sharded(store)
        metadata = [{"n": seed} for seed in range(50)]
        assert many.upsert_arrays(names(50), vectors(50), metadata, namespace="a") == 50

        assert many.fetch(["v7"], namespace="a")["v7"].metadata == {"n": 7}
        assert many.query(vector(7), 1, namespace="a")[0][0].id == "v7"
        assert sorted(many.all_keys()) == sorted(("a", name) for name in names(50))
        assert many.types == {"n": {"int"}}


@pytest.mark.parametrize(
    ("ids", "rows", "param"),
    [
        (["a", "a"], [0, 1], "records[1].id"),
        (["a", "b"], [0], "ids"),
        (["a", ""], [0, 1], "ids[1]"),
    ],
)
def test_a_write_with_a_fault_writes_nothing_on_any_shard(
    tmp_path: Path, ids: list[str], rows: list[int], param: str
) -> None:
    """The fault is named as the caller numbered it."""
    with VectorStore(tmp_path, STILL) as store:
        many = sharded(store)
        with pytest.raises(InvalidRequest) as caught:
            many.upsert_arrays(ids, vectors(2)[rows])
        assert caught.value.param == param
        broken = records(range(1, 40))
        broken[30] = type(broken[30])("x", [1.0] * (DIMENSIONS - 1))
        with pytest.raises(InvalidRequest, match=r"records\[30\].vector"):
            many.upsert(broken)

        assert many.records == 0
        assert many.version == 0


def test_stats_are_of_each_shard_and_of_all(tmp_path: Path) -> None:
    """Sums where a sum says something."""
    with VectorStore(tmp_path, STILL) as store:
        many = sharded(store)
        many.upsert(records(range(60)))
        many.compact()

        stats = many.stats()
        assert stats.records == 60 == sum(one.records for one in stats.shards.values())
        assert stats.namespaces == {"": 40, "other": 20}
        assert set(stats.shards) == {"shard-000", "shard-001", "shard-002"}
        assert stats.segments == 3
        assert stats.missing == stats.damaged == stats.troubles == many.troubles == {}


def test_the_version_rises_with_each_write_and_survives_reopening(tmp_path: Path) -> None:
    """It is known without asking a shard; a write of nothing is none."""
    with VectorStore(tmp_path, STILL) as store:
        many = sharded(store)
        many.upsert(records(range(20)))
        first = many.version
        many.update("v1", metadata={"n": 0})
        assert many.version == first + 1
        assert many.delete(["nobody"]) == 0
        assert many.version == first + 1
        many.delete(["v1"])
        last = many.version
        assert last == first + 2
    with VectorStore(tmp_path, STILL) as store:
        assert store.collection("c").version == last


def test_a_shard_that_cannot_be_opened_is_named_and_the_others_answer(tmp_path: Path) -> None:
    """Searches and counts go on without it, writes that concern it do not."""
    with VectorStore(tmp_path, STILL) as store:
        sharded(store).upsert(records(range(60)))
    flip(tmp_path / "c" / "shard-001" / "manifest.json")
    with VectorStore(tmp_path, STILL) as store:
        many = store.collection("c")
        answer = many.query(vector(0), 100)

        assert list(missing_of(answer)) == ["shard-001"]
        assert "manifest.json" in missing_of(answer)["shard-001"]
        assert 0 < len(answer[0]) < 40
        assert list(many.stats().missing) == list(many.troubles) == ["shard-001"]
        with pytest.raises(Unreachable, match="'shard-001' is missing"):
            many.upsert(records(range(100, 130)))
        with pytest.raises(Unreachable, match="take the snapshot once all shards are there"):
            many.snapshot(tmp_path / "s")
        assert not (tmp_path / "s").exists()


def test_a_damaged_segment_is_told_with_its_shard(tmp_path: Path) -> None:
    """By `verify` and in the stats."""
    with VectorStore(tmp_path, STILL) as store:
        many = sharded(store)
        many.upsert(records(range(60)))
        many.compact()
        (segment,) = (tmp_path / "c" / "shard-002" / "segments").iterdir()
        flip(segment / "codes.npy")

        (place,) = many.verify()
        assert place.startswith("shard-002/")
        assert "codes.npy" in many.stats().damaged[place]


def test_a_snapshot_of_shards_is_one_moment_and_becomes_a_collection(tmp_path: Path) -> None:
    """Taken while batches are written: all of a batch that was acknowledged before it, none that began after."""
    with VectorStore(tmp_path / "store", STILL) as store:
        many = sharded(store)
        done: list[int] = []
        over = threading.Event()

        def write() -> None:
            while not over.is_set():
                first = 20 * len(done)
                many.upsert_arrays(names(20, first), vectors(20, first))
                done.append(first)

        writer = threading.Thread(target=write)
        writer.start()
        before = []
        for number in range(4):
            before.append(len(done))
            many.snapshot(tmp_path / f"s{number}")
        over.set()
        writer.join()

        for number, least in enumerate(before):
            back = store.restore(f"back{number}", tmp_path / f"s{number}")
            kept = found(back)
            assert len(kept) % 20 == 0
            assert sorted(kept) == sorted(names(len(kept)))
            assert len(kept) >= 20 * least
        with pytest.raises(InvalidRequest, match="exists"):
            many.snapshot(tmp_path / "s0")
        with pytest.raises(InvalidRequest, match="exists"):
            store.restore("back0", tmp_path / "s0")


def test_pca_is_learned_once_for_all_shards(tmp_path: Path) -> None:
    """So that scores of different shards compare."""
    schema = Schema(dimensions=DIMENSIONS, reduction="pca", kept=4)
    with VectorStore(tmp_path, STILL) as store:
        with pytest.raises(InvalidRequest, match="pca learns"):
            store.create("many", schema, shards=3)
        many = store.create("many", schema, sample=vectors(50), shards=3)
        one = store.create("one", schema, sample=vectors(50))
        for collection in (one, many):
            add(collection, 60)  # type: ignore[arg-type]  # as good as one

        assert ids_of(many) == ids_of(one)  # type: ignore[arg-type]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("upsert"), st.lists(st.integers(0, 60), min_size=1, max_size=20, unique=True)),
            st.tuples(st.just("delete"), st.lists(st.integers(0, 60), min_size=1, max_size=10)),
            st.tuples(st.just("delete above"), st.integers(0, 60)),
            st.tuples(st.just("update"), st.integers(0, 60)),
            st.tuples(st.just("compact"), st.none()),
        ),
        max_size=8,
    ),
    asked=st.integers(100, 120),
    k=st.integers(1, 70),
    most=st.none() | st.integers(0, 60),
)
def test_a_sharded_collection_answers_as_a_plain_one(
    tmp_path_factory: pytest.TempPathFactory, steps: list, asked: int, k: int, most: int | None
) -> None:
    """Whatever was written before: the same matches of an exact search, in the same order, with the same metadata."""
    wanted = None if most is None else {"n": {"$lte": most}}
    with VectorStore(tmp_path_factory.mktemp("store"), STILL) as store:
        both = store.create("one", SCHEMA), sharded(store, "many")
        results = []
        for collection in both:
            told = [_done(collection, what, of) for what, of in steps]
            collection.upsert(records([500]))  # so that there are fields to filter by
            matches = collection.query(
                vector(asked), k, filter=wanted, exact=True, candidates=1000, include_metadata=True
            )[0]
            told.append([(match.id, round(match.score, 3), match.metadata) for match in matches])
            results.append((told, sorted(collection.all_keys()), collection.records))

        assert results[0] == results[1]


def _done(collection: Collection | ShardedCollection, what: str, of: object) -> object:
    """One step, and what it returned."""
    match what:
        case "upsert":
            return collection.upsert(records(of))  # type: ignore[arg-type]
        case "delete":
            return collection.delete([f"v{seed}" for seed in of])  # type: ignore[attr-defined]
        case "delete above":
            return collection.delete(filter={"n": {"$gt": of}}) if collection.types else 0
        case "update":
            try:
                return collection.update(f"v{of}", metadata={"n": -1})
            except NotFound as error:
                return error.message
        case _:
            return collection.compact()
