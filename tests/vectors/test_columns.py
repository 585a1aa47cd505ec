"""Columns against their plain twin: a filter passes the rows that it matches one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.vectors.bitmap import rows_of, words_for
from paceline.vectors.columns import Columns
from paceline.vectors.filters import Filter

BIG = (1 << 53) + 1  # a whole number that float64 cannot hold
WHOLE = st.sampled_from(
    [-129, -128, -1, 0, 1, 2, 127, 128, 40_000, BIG - 1, BIG, BIG + 1, (1 << 63) - 1, -(1 << 63)]
)
BROKEN = st.sampled_from(
    [-0.5, 0.0, 0.5, 1.0, 1.5, 127.5, float(BIG - 1), float(BIG + 1), 1e300, -1e300, 2.0**63]
)
TEXT = st.sampled_from(["", "a", "b", "ba", "\u00e4", "\U0001f600"])
SCALAR = st.one_of(st.booleans(), WHOLE, BROKEN, TEXT)
FIELDS = st.sampled_from(["f", "g"])
RECORDS = st.one_of(
    st.none(), st.dictionaries(FIELDS, st.one_of(SCALAR, st.lists(TEXT, max_size=3)), max_size=2)
)


def _conditions() -> st.SearchStrategy[Any]:
    ordered = st.one_of(WHOLE, BROKEN, TEXT)
    one = st.one_of(
        st.tuples(st.sampled_from(["$eq", "$ne"]), SCALAR),
        st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(SCALAR, max_size=12)),
        st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), ordered),
        st.tuples(st.just("$exists"), st.booleans()),
    )
    test = st.builds(lambda field, op: {field: dict([op])}, FIELDS, one)
    return st.recursive(
        test,
        lambda inner: st.one_of(
            st.builds(lambda parts: {"$and": parts}, st.lists(inner, min_size=1, max_size=3)),
            st.builds(lambda parts: {"$or": parts}, st.lists(inner, min_size=1, max_size=3)),
            st.builds(lambda part: {"$not": part}, inner),
        ),
        max_leaves=4,
    )


@settings(max_examples=400, deadline=None)
@given(st.lists(RECORDS, max_size=80), _conditions())
def test_a_mask_is_what_matches_row_by_row(
    records: list[dict[str, Any] | None], wanted: dict[str, Any]
) -> None:
    """Whatever kinds a field mixes, and at the edges of what numbers can hold."""
    made = Filter.parse(wanted)

    mask = Columns.build(records).mask(made)

    assert rows_of(mask, len(records)).tolist() == [i for i, one in enumerate(records) if made.matches(one)]
    assert mask.shape == (words_for(len(records)),)
    assert not any(int(word) for word in mask[len(records) // 64 + 1 :])


@settings(max_examples=100, deadline=None)
@given(st.lists(RECORDS, max_size=20))
def test_a_row_is_what_was_put_in(records: list[dict[str, Any] | None]) -> None:
    """Values and their types, also after a passage through plain arrays."""
    for columns in (Columns.build(records), Columns.from_arrays(Columns.build(records).arrays())):
        rows = [columns.row(i) for i in range(len(columns))]

        assert rows == [one or {} for one in records]
        assert [[type(v) for v in sorted_values(one)] for one in rows] == [
            [type(v) for v in sorted_values(one or {})] for one in records
        ]


def sorted_values(record: dict[str, Any]) -> list[Any]:
    """Values in the order of fields."""
    return [record[field] for field in sorted(record)]


def test_columns_open_as_memory_maps(tmp_path: Path) -> None:
    """The arrays are plain: what `numpy.load` maps will do."""
    records = [
        {"genre": ["drama", "war", "love"][i % 3], "tags": ["x", "y"][: i % 3], "year": i} for i in range(200)
    ]
    for name, array in Columns.build(records).arrays().items():
        np.save(tmp_path / f"{name}.npy", array)

    mapped = Columns.from_arrays({path.stem: np.load(path, mmap_mode="r") for path in tmp_path.iterdir()})
    wanted = Filter.parse({"genre": {"$gte": "love"}, "tags": "x", "year": {"$lt": 150}})

    assert rows_of(mapped.mask(wanted), 200).tolist() == [
        i for i, one in enumerate(records) if wanted.matches(one)
    ]
    assert mapped.row(7) == records[7]


def test_whole_numbers_take_the_bytes_they_need() -> None:
    """Years take two bytes each, and the codes of few texts one."""
    arrays = Columns.build([{"year": 1900 + i, "genre": "ab"[i % 2]} for i in range(100)]).arrays()

    assert arrays["0.values"].dtype == np.int16
    assert arrays["1.values"].dtype == np.uint8
    assert "0.rows" not in arrays


def test_types_are_all_that_a_field_was_seen_with() -> None:
    """Also when records disagree."""
    columns = Columns.build([{"a": 1}, None, {"a": "x", "b": ["y"]}, {"a": 2.5}])

    assert columns.types == {"a": {"int", "string", "float"}, "b": {"strings"}}


def test_a_mask_asked_again_is_the_same_and_read_only() -> None:
    """It is shared between searches."""
    columns = Columns.build([{"a": i} for i in range(10)])
    first = columns.mask(Filter.parse({"a": {"$gt": 4}}))

    assert columns.mask(Filter.parse({"a": {"$gt": 4}})) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0


def test_masks_kept_are_bounded() -> None:
    """Those asked longest ago leave."""
    columns = Columns.build([{"a": i} for i in range(100)])
    columns._masks_most = 3
    first = columns.mask(Filter.parse({"a": 0}))
    for value in range(1, 4):
        columns.mask(Filter.parse({"a": value}))

    assert columns.mask(Filter.parse({"a": 0})) is not first
    assert len(columns._masks) == 3


def test_a_field_nobody_has_matches_nothing() -> None:
    """Another segment may have it; only its opposite passes all."""
    columns = Columns.build([{"a": 1}] * 3)

    assert rows_of(columns.mask(Filter.parse({"b": 1})), 3).tolist() == []
    assert rows_of(columns.mask(Filter.parse({"b": {"$ne": 1}})), 3).tolist() == [0, 1, 2]
