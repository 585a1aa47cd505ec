"""What a collection refuses: bad records, bad queries, and what comes when it is not to be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from collections_of import filled, names, policy, vector, vectors

from paceline.base.errors import FolderInUse, InvalidRequest, PacelineError
from paceline.vectors.collection import Collection
from paceline.vectors.record import Record


def test_a_filter_on_a_field_that_nobody_has_is_told(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 20) as collection, pytest.raises(InvalidRequest, match="did you mean"):
        collection.query(vector(0), 1, filter={"nn": 3})


BAD_WRITES = [
    ([Record("a", [1.0] * 7)], "shape"),
    ([Record("a", "text")], "no list of numbers"),
    ([Record("a", [float("nan")] * 8)], "NaN"),
    ([Record("a", [float("inf")] + [0.0] * 7)], "infinity"),
    ([Record("a", [0.0] * 8)], "no cosine"),
    ([Record("a", [1.0] * 8), Record("b", [1.0] * 8), Record("a", [2.0] * 8)], "comes twice, at 1 and 3"),
    ([Record("", [1.0] * 8)], "1 to 512 bytes"),
    ([Record("a" * 513, [1.0] * 8)], "513 bytes"),
    ([Record("a", [1.0] * 8, namespace="x\0")], "NUL"),
    ([Record("a", [1.0] * 8, {"f": {"nested": 1}})], "'f'"),
    ([Record("a", [1.0] * 8, {"f": None})], "null"),
    ([Record("a", [1.0] * 8, {"f": "x" * 50_000})], "40960"),
]


@pytest.mark.parametrize(("records", "said"), BAD_WRITES)
def test_a_bad_record_is_named_and_nothing_of_its_batch_is_written(
    tmp_path: Path, records: list[Record], said: str
) -> None:
    with filled(tmp_path / "c", 0) as collection:
        with pytest.raises(InvalidRequest, match=said):
            collection.upsert([Record("good", vector(1)), *records])

        assert collection.stats().records == 0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 10_001}, "k is 10001"),
        ({"ef": 0}, "ef is 0"),
        ({"vectors": [1.0] * 7}, "7 dimensions"),
        ({"vectors": [0.0] * 8}, "no cosine"),
        ({"vectors": [float("nan")] * 8}, "NaN"),
        ({"filter": {"n": {"$near": 1}}}, "operator"),
        ({"namespace": 5}, "namespace is 5"),
    ],
)
def test_a_bad_query_is_told_what_is_wrong(tmp_path: Path, asked: dict[str, Any], said: str) -> None:
    with filled(tmp_path / "c", 20) as collection, pytest.raises(InvalidRequest, match=said):
        collection.query(**({"vectors": vector(0)} | asked))


def test_numbers_beyond_the_stored_precision_are_refused_before_they_are_logged(tmp_path: Path) -> None:
    with (
        filled(tmp_path / "c", 0, metric="dot") as collection,
        pytest.raises(InvalidRequest, match="rescore bf16"),
    ):
        collection.upsert([Record("a", [70_000.0] * 8)])


def test_too_many_records_in_one_write_are_refused(tmp_path: Path) -> None:
    how = policy(most_batch=10)
    with filled(tmp_path / "c", 0, how) as collection, pytest.raises(InvalidRequest, match="10 is the most"):
        collection.upsert_arrays(names(11), vectors(11))


def test_a_second_owner_of_the_folder_is_told_who_has_it(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 20), pytest.raises(FolderInUse, match="is open in process"):
        Collection.open(tmp_path / "c")
    Collection.open(tmp_path / "c").close()


def test_a_closed_collection_says_so(tmp_path: Path) -> None:
    collection = filled(tmp_path / "c", 20)
    collection.close()
    collection.close()

    with pytest.raises(PacelineError, match="is closed"):
        collection.query(vector(0), 1)
    with pytest.raises(PacelineError, match="is closed"):
        collection.upsert([Record("a", vector(0))])
