"""Collections: writes, searches, and clear words about what cannot be."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collections_of import DIMENSIONS, SMALL, STILL, add, filled, ids_of, names, policy, vector, vectors
from test_wal import room_for

from paceline.base.errors import InvalidRequest, NotFound, StorageError, StorageFull
from paceline.vectors.collection import Collection
from paceline.vectors.exact import nearest, recall
from paceline.vectors.policy import Schema
from paceline.vectors.record import Record


def test_a_write_is_found_at_once_and_by_its_own_vector_first(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 30, STILL) as collection:
        match = collection.query(vector(7), 1, include_metadata=True, include_vectors=True)[0][0]

        assert (match.id, match.metadata) == ("v7", {"n": 7})
        assert match.score == pytest.approx(1)
        np.testing.assert_allclose(match.vector, vector(7), rtol=1e-5)


def test_several_queries_are_answered_in_their_order(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 200) as collection:
        found = collection.query(vectors(5, 50), 1)

        assert [[match.id for match in matches] for matches in found] == [[name] for name in names(5, 50)]


def test_fresh_and_sealed_and_joined_records_are_one_collection(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 300) as collection:
        collection.settle()
        add(collection, 10, 300)
        stats = collection.stats()

        assert stats.rows_with_graph > 0
        assert stats.rows_scanned >= 10
        assert sorted(ids_of(collection)) == sorted(names(310))


def test_a_record_written_again_is_replaced_wherever_it_was(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 100) as collection:
        collection.settle()
        collection.upsert([Record("v3", vector(1000)), Record("v99", vector(1001))])

        assert collection.stats().records == 100
        assert collection.query(vector(1000), 1)[0][0].id == "v3"
        np.testing.assert_allclose(collection.fetch(["v3"])["v3"].vector, vector(1000), rtol=1e-5)


def test_namespaces_do_not_see_each_other(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 80) as collection:
        for start in range(0, 80, 40):
            collection.upsert_arrays(names(40, start), vectors(40, start + 500), namespace="other")

        assert collection.stats().namespaces == {"": 80, "other": 80}
        assert collection.query(vector(500), 1, namespace="other")[0][0].id == "v0"
        assert collection.query(vector(500), 1)[0][0].score < 0.999

        assert collection.delete(everything=True, namespace="other") == 80
        assert collection.query(vector(500), 1, namespace="other") == [[]]
        assert collection.stats().namespaces == {"": 80}


@pytest.mark.parametrize("how", [STILL, SMALL])
def test_filters_hold_over_fresh_and_sealed_records(tmp_path: Path, how: Any) -> None:
    with filled(tmp_path / "c", 700, how) as collection:
        found = ids_of(collection, filter={"n": {"$gte": 100, "$lt": 600}, "$not": {"n": 300}})

        assert sorted(found) == sorted(set(names(500, 100)) - {"v300"})


def test_a_filter_is_checked_against_what_is_there_now(tmp_path: Path) -> None:
    """A field that nobody had may come with the next record, and what was found before is no answer for later."""
    with filled(tmp_path / "c", 4) as collection:
        with pytest.raises(InvalidRequest):
            ids_of(collection, filter={"lead": "Ann"})
        collection.upsert([Record("new", vector(7), {"lead": "Ann"})])

        assert ids_of(collection, filter={"lead": "Ann"}) == ["new"]
        collection.delete(["new"])
        assert ids_of(collection, filter={"lead": "Ann"}) == []
        assert collection.records == 4


def test_deleting_by_filter_and_by_id_tells_how_many_there_were(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 100) as collection:
        assert collection.delete(filter={"n": {"$lt": 10}}) == 10
        assert collection.delete(["v10", "v10", "v5", "nobody"]) == 1
        assert collection.stats().records == 89


def test_an_update_keeps_what_it_does_not_name(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 100) as collection:
        collection.settle()
        collection.update("v5", metadata={"tag": "x"})
        collection.update("v6", vector=vector(900))
        collection.update("v7", metadata={"n": None})
        records = collection.fetch(["v5", "v6", "v7"])

        assert records["v5"].metadata == {"n": 5, "tag": "x"}
        np.testing.assert_allclose(records["v5"].vector, vector(5), rtol=2e-3, atol=2e-3)
        assert records["v6"].metadata == {"n": 6}
        np.testing.assert_allclose(records["v6"].vector, vector(900), rtol=1e-5)
        assert records["v7"].metadata is None
        with pytest.raises(NotFound, match="upsert it"):
            collection.update("nobody", metadata={"n": 1})


def test_compaction_removes_deleted_rows_and_leaves_one_segment(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 500) as collection:
        collection.delete(names(300))
        collection.compact()
        stats = collection.stats()

        assert (stats.segments, stats.deleted, stats.records) == (1, 0, 200)
        assert stats.rows_with_graph == 200
        assert sorted(ids_of(collection)) == sorted(names(200, 300))


def test_a_collection_emptied_and_compacted_has_no_segment(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 100) as collection:
        collection.delete(everything=True)
        collection.compact()

        assert collection.stats().segments == 0
        assert collection.query(vector(0), 3) == [[]]
        assert collection.query(vector(0), 3, filter={"n": 1}) == [[]]


def test_while_loading_no_graph_is_built(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 0) as collection:
        with collection.loading():
            add(collection, 400)
            collection.settle()
            assert collection.stats().rows_with_graph == 0
        collection.settle()

        assert (
            collection.stats().rows_with_graph == collection.stats().records - collection.stats().rows_scanned
        )
        assert collection.stats().rows_with_graph > 0


def test_joins_in_a_process_of_their_own_give_the_same(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 256, policy(graph_rows=128, process_rows=0)) as collection:
        collection.compact()

        assert collection.stats().troubles == {}
        assert collection.stats().rows_with_graph == 256
        assert sorted(ids_of(collection)) == sorted(names(256))


def test_readers_see_whole_writes_only(tmp_path: Path) -> None:
    """A batch writes all of ten ids anew; whoever searches meanwhile finds ten, of one batch."""
    with filled(tmp_path / "c", 0) as collection:
        ids, stop, seen = names(10), threading.Event(), []

        def read() -> None:
            while not stop.is_set():
                seen.append(
                    {
                        match.metadata["n"]
                        for match in collection.query(vector(0), 20, include_metadata=True)[0]
                    }
                )
                seen.append(len(collection.query(vector(0), 20)[0]))

        collection.upsert_arrays(ids, vectors(10), [{"n": -1}] * 10)
        reader = threading.Thread(target=read)
        reader.start()
        for n in range(100):
            collection.upsert_arrays(ids, vectors(10, n), [{"n": n}] * 10)
        stop.set()
        reader.join()

        assert seen
        assert all(what == 10 or (isinstance(what, set) and len(what) == 1) for what in seen)


def test_many_writers_and_a_small_store_lose_nothing(tmp_path: Path) -> None:
    """More is written than may wait to be sealed, so writers wait for it, and for nothing else."""
    how = policy(seal_rows=16, most_sealing=1, graph_rows=64)
    with filled(tmp_path / "c", 0, how) as collection:
        threads = [threading.Thread(target=add, args=(collection, 100, 1000 * i)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        collection.update("v0", metadata={"late": True})

        assert collection.stats().records == 400


@pytest.mark.parametrize(
    ("metric", "precision", "rescore"), [("l2", "binary", "fp32"), ("dot", "bf16", "none")]
)
def test_other_metrics_and_precisions_give_back_what_was_written(
    tmp_path: Path, metric: Any, precision: Any, rescore: Any
) -> None:
    with filled(tmp_path / "c", 150, metric=metric, precision=precision, rescore=rescore) as collection:
        collection.compact()
        kept = collection.fetch(["v42"])["v42"].vector

        np.testing.assert_allclose(kept, vector(42), rtol=1e-2)
        if metric == "l2":
            assert collection.query(vector(42), 1, ef=150)[0][0].score == pytest.approx(0, abs=1e-4)


def test_pca_learns_from_the_sample_and_queries_go_the_same_way(tmp_path: Path) -> None:
    schema = Schema(dimensions=DIMENSIONS, reduction="pca", kept=6)
    with pytest.raises(InvalidRequest, match="pca learns"):
        Collection.create(tmp_path / "c", schema)
    with Collection.create(tmp_path / "c", schema, sample=vectors(100), policy=SMALL) as collection:
        add(collection, 100)
        assert collection.fetch(["v1"])["v1"].vector.shape == (6,)
    with Collection.open(tmp_path / "c", policy=SMALL) as again:
        assert again.query(vector(31), 1)[0][0].id == "v31"


def test_without_room_a_write_fails_reads_go_on_and_writes_again_once_there_is(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 40, STILL) as collection:
        size = collection.stats().log_bytes
        with room_for(size + 100):
            with pytest.raises(StorageFull, match="make some and write again"):
                add(collection, 20, 100)
            assert len(ids_of(collection)) == 40
        add(collection, 20, 200)
    with Collection.open(tmp_path / "c", policy=STILL) as again:
        assert sorted(ids_of(again)) == sorted([*names(40), *names(20, 200)])


def test_without_room_for_a_segment_fresh_records_stay_in_the_log_and_are_sealed_later(
    tmp_path: Path,
) -> None:
    how = policy(seal_rows=64, graph_rows=10_000)
    with filled(tmp_path / "c", 60, how) as collection:
        with room_for(4_500):
            add(collection, 20, 60)
            with pytest.raises(StorageFull):
                collection.settle()
            assert len(ids_of(collection)) == 80
        add(collection, 1, 80)
        collection._upkeep.wake()
        while collection.stats().troubles:
            collection._upkeep.wake()
        collection.settle()

        assert collection.stats().segments == 1
        assert len(ids_of(collection)) == 81


def test_after_a_failed_fsync_the_next_write_makes_all_of_it_durable_elsewhere(tmp_path: Path) -> None:
    """The first caller is told that its write may be lost; as it was seen, it becomes a segment."""

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with filled(tmp_path / "c", 40, STILL) as collection:
        sync = collection._log._sync
        collection._log._sync = fail
        with pytest.raises(StorageError, match="may be lost"):
            add(collection, 20, 40)
        collection._log._sync = sync
        add(collection, 20, 60)
        collection.settle()

        assert collection.stats().segments == 1
        assert len(ids_of(collection)) == 80
    with Collection.open(tmp_path / "c", policy=STILL) as again:
        assert sorted(ids_of(again)) == sorted(names(80))


def test_recall_after_half_was_deleted_and_written_again_is_that_of_a_fresh_build(tmp_path: Path) -> None:
    draw = np.random.default_rng(8)
    rows = draw.standard_normal((4000, 24)).astype(np.float32)
    queries = draw.standard_normal((200, 24)).astype(np.float32)
    truth, _ = nearest(queries, rows, 10)

    def recall_of(collection: Collection) -> float:
        found = [[int(match.id) for match in matches] for matches in collection.query(queries, 10, ef=60)]
        return recall(np.array(found, np.int32), truth)

    how = policy(seal_rows=500, graph_rows=1000)
    with Collection.create(tmp_path / "c", Schema(dimensions=24), policy=how) as collection:
        collection.upsert_arrays([str(i) for i in range(4000)], rows)
        collection.compact()
        fresh = recall_of(collection)
        chosen = [str(i) for i in draw.permutation(4000)[:2000]]
        for start in range(0, 2000, 200):
            part = chosen[start : start + 200]
            collection.delete(part)
            collection.upsert_arrays(part, rows[[int(name) for name in part]])
        collection.settle()

        assert collection.stats().records == 4000
        assert recall_of(collection) >= fresh - 0.005


def test_the_version_counts_writes_and_survives(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 100) as collection:
        assert collection.version == 5
        collection.compact()
        assert collection.version == 5
    with Collection.open(tmp_path / "c") as again:
        assert again.version == 5
        again.delete(["v1"])
        assert again.version == 6
