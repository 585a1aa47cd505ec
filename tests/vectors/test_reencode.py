"""The codes of a living collection are made again in another precision; nothing else changes, and nobody waits."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from collections_of import DIMENSIONS, SMALL, STILL, add, filled, ids_of, names, vector

from paceline.base.errors import InvalidRequest, PacelineError
from paceline.vectors.codes import PRECISIONS, Precision
from paceline.vectors.collection import Collection
from paceline.vectors.policy import Schema
from paceline.vectors.reencode import checked_change


def schema(**fields: object) -> Schema:
    """Of few dimensions."""
    return Schema(dimensions=DIMENSIONS, **fields)


def graphs_of(collection: Collection) -> list[bytes]:
    """The neighbours in each segment."""
    return [
        segment.graph.base.tobytes()
        for segment, _ in collection._view().segments()
        if segment.graph is not None
    ]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_every_precision_is_reached_from_a_copy(tmp_path: Path, precision: Precision, metric: str) -> None:
    """Deletions, ids and graphs stay, and vectors as exact as the copy holds them."""
    with filled(tmp_path / "c", 200, metric=metric, rescore="bf16") as collection:
        collection.compact()
        collection.delete(names(10))
        before, graphs = collection.fetch(names(200)), graphs_of(collection)
        if precision == "fp16" and metric == "l2":
            with pytest.raises(InvalidRequest, match="above 65504"):
                collection.reencode(precision)
            return
        collection.reencode(precision)
        collection.settle()

        assert collection.schema.precision == precision
        assert collection.stats().precisions == {precision: 1.0}
        assert graphs_of(collection) == graphs
        after = collection.fetch(names(200))
        assert set(after) == set(names(190, 10))
        for name, record in after.items():
            np.testing.assert_array_equal(record.vector, before[name].vector)
        assert set(ids_of(collection)) == set(after)
        assert collection.query(vector(77), 1)[0][0].id == "v77"


def test_wider_codes_without_a_copy_hold_the_numbers_of_before(tmp_path: Path) -> None:
    """No digit is lost, none is won; new vectors have all of theirs, and all are joined."""
    with filled(tmp_path / "c", 100, metric="dot", precision="fp16", rescore="none") as collection:
        collection.settle()
        before = collection.fetch(names(100))
        collection.reencode("fp32")
        collection.upsert_arrays(["wide"], np.full((1, DIMENSIONS), 1e6))  # more than fp16 held
        add(collection, 50, 100)
        collection.compact()

        assert collection.stats().precisions == {"fp32": 1.0}
        for name, record in collection.fetch(names(100)).items():
            np.testing.assert_array_equal(record.vector, before[name].vector)
        np.testing.assert_array_equal(collection.fetch(["v120"])["v120"].vector, vector(120))
        assert collection.query(np.ones(DIMENSIONS), 1)[0][0].id == "wide"


@pytest.mark.parametrize(
    ("fields", "precision", "message"),
    [
        ({"precision": "fp32", "rescore": "none"}, "int8", "only copy"),
        ({"precision": "fp32", "rescore": "none"}, "fp16", "only copy"),
        ({"precision": "fp16", "rescore": "none"}, "bf16", "only copy"),
        ({"precision": "bf16", "rescore": "none"}, "fp16", "only copy"),
        ({"precision": "int8", "rescore": "fp32", "metric": "dot"}, "fp16", "above 65504"),
        ({}, "int4", "is unknown; use one of fp32, fp16"),
    ],
)
def test_what_would_lose_digits_is_refused(
    tmp_path: Path, fields: dict[str, object], precision: str, message: str
) -> None:
    """And changes nothing."""
    with Collection.create(tmp_path / "c", schema(**fields), policy=STILL) as collection:
        with pytest.raises(InvalidRequest, match=message):
            collection.reencode(precision)
        assert collection.schema == schema(**fields)


def test_the_same_precision_is_no_change() -> None:
    """Of any schema."""
    for precision in PRECISIONS:
        assert checked_change(schema(precision=precision), precision) == schema(precision=precision)
    only = schema(precision="bf16", rescore="none")
    assert checked_change(only, "bf16") == only


def test_a_crash_in_the_middle_does_not_end_it(tmp_path: Path) -> None:
    """What is on the disk as soon as it is said is enough to go on from."""
    with filled(tmp_path / "c", 300) as collection:
        collection.settle()
        with collection.loading():  # nothing is rewritten yet
            collection.reencode("binary")
            shutil.copytree(tmp_path / "c", tmp_path / "killed", ignore=shutil.ignore_patterns("lock"))
            assert "binary" not in collection.stats().precisions
    with Collection.open(tmp_path / "killed", policy=SMALL) as again:
        again.settle()
        assert again.schema.precision == "binary"
        assert set(again.stats().precisions) <= {"binary", "fresh"}
        assert set(ids_of(again)) == set(names(300))
        assert len(list((tmp_path / "killed/segments").iterdir())) == again.stats().segments


def test_a_snapshot_goes_on_too(tmp_path: Path) -> None:
    """It has the precision that was asked for."""
    with filled(tmp_path / "c", 100) as collection, collection.loading():
        collection.reencode("fp32")
        collection.snapshot(tmp_path / "s")
    with Collection.open(tmp_path / "s", policy=SMALL) as again:
        again.compact()
        assert again.stats().precisions == {"fp32": 1.0}


def test_reads_and_writes_go_on_meanwhile(tmp_path: Path) -> None:
    """Every search finds what is there, whatever it is held in."""
    first, batches = 1000, 30
    with filled(tmp_path / "c", 400, rescore="fp32") as collection:
        collection.settle()

        def write() -> None:
            for start in range(first, first + 20 * batches, 20):
                add(collection, 20, start)
                collection.delete(names(10, start))

        writer = threading.Thread(target=write)
        writer.start()
        precisions = set[str]()
        for precision in ("binary", "fp32", "int8", "fp16"):
            collection.reencode(precision)
            for _ in range(25):
                found = collection.query(vector(100), 3, ef=400)[0][0]
                assert (found.id, round(found.score, 3)) == ("v100", 1.0)
                precisions |= set(collection.stats().precisions)
        writer.join()
        collection.compact()

        assert len(precisions - {"fresh"}) > 1
        assert collection.stats().precisions == {"fp16": 1.0}
        expected = {name for start in range(0, 20 * batches, 20) for name in names(10, first + start + 10)}
        assert {name for _, name in collection.all_keys()} == set(names(400)) | expected


def test_a_closed_collection_is_not_changed(tmp_path: Path) -> None:
    """It says so."""
    collection = filled(tmp_path / "c", 20)
    collection.close()

    with pytest.raises(PacelineError, match="closed"):
        collection.reencode("fp32")
