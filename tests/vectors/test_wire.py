"""Vectors come as lists or base64, and what is wrong with one is told by the name that it was sent under."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.errors import InvalidRequest
from paceline.base.vectors_records import VectorItem
from paceline.vectors.policy import Schema
from paceline.vectors.record import Match, Record
from paceline.vectors.wire import (
    fetched_of,
    numbers_of,
    queried_of,
    records_of,
    rows_of,
    values_of,
    vector_of,
)

COSINE = Schema(dimensions=3)
DOT = Schema(dimensions=3, metric="dot")
FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40)


@given(FLOATS, st.booleans())
def test_what_is_sent_comes_back(numbers: list[float], packed: bool) -> None:
    """As a list or in base64, to the last bit."""
    vector = np.array(numbers, np.float32)

    again = numbers_of(values_of(vector, packed=packed), "vector")

    assert again.tobytes() == vector.tobytes()
    assert again.flags.writeable


def test_base64_is_of_little_endian_float32() -> None:
    """As Pinecone's and OpenAI's clients pack it."""
    sent = base64.b64encode(np.array([1.0, -2.5, 0.0], "<f4").tobytes()).decode()

    assert numbers_of(sent, "vector").tolist() == [1.0, -2.5, 0.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("not base64!", "is no base64"),
        ("AAAA", "has 3 bytes; float32 numbers have four each"),
        ([1.0, "two", 3.0], "is no list of numbers"),
        ([1.0, 1e39, 0.0], "too large for float32"),
        ([1.0, 2.0], "has 2 numbers, the collection's vectors have 3"),
        ([], "has 0 numbers, the collection's vectors have 3"),
        ([1.0, float("nan"), 0.0], "holds NaN or an infinity"),
        (base64.b64encode(np.full(3, np.inf, "<f4").tobytes()).decode(), "holds NaN or an infinity"),
        ([0.0, 0.0, 0.0], "is all zeros, which has no cosine"),
    ],
)
def test_what_cannot_be_a_vector_is_refused_by_name(values: Any, message: str) -> None:
    """With what would do instead."""
    with pytest.raises(InvalidRequest, match=message) as caught:
        vector_of(values, COSINE, "vectors[3].values")

    assert caught.value.param == "vectors[3].values"
    assert caught.value.message.startswith("vectors[3].values")


def test_zeros_and_large_numbers_are_vectors_where_length_matters() -> None:
    """Their square may be none: they are finite."""
    assert vector_of([0.0, 0.0, 0.0], DOT, "vector").tolist() == [0.0, 0.0, 0.0]
    assert vector_of([3e38, 0.0, 0.0], DOT, "vector")[0] == np.float32(3e38)


def test_rows_are_named_by_their_place() -> None:
    """Of a list of queries, for one."""
    assert rows_of([[1.0, 2.0, 3.0]], COSINE, "vectors").shape == (1, 3)
    with pytest.raises(InvalidRequest) as caught:
        rows_of([[1.0, 2.0, 3.0], [1.0]], COSINE, "vectors")

    assert caught.value.param == "vectors[1]"


def test_a_text_is_kept_in_the_metadata() -> None:
    """Beside what is there; the field's name is the collection's."""
    items = [VectorItem("a", [1.0, 2.0, 3.0], {"n": 1}, "seven words"), VectorItem("b", [1.0, 2.0, 3.0])]

    first, second = records_of(items, "space", Schema(dimensions=3, text_field="body"))

    assert (first.id, first.metadata, first.namespace) == ("a", {"n": 1, "body": "seven words"}, "space")
    assert second.metadata is None


@pytest.mark.parametrize(
    ("item", "field", "param"),
    [
        (VectorItem("a"), "text", "vectors[0].values"),
        (VectorItem("a", text="words"), "text", "vectors[0].values"),
        (VectorItem("a", [1.0, 2.0, 3.0], text="words"), "", "vectors[0].text"),
    ],
)
def test_a_record_needs_numbers_and_its_text_a_field(item: VectorItem, field: str, param: str) -> None:
    """A text alone is embedded before it comes here."""
    with pytest.raises(InvalidRequest) as caught:
        records_of([item], "", Schema(dimensions=3, text_field=field))

    assert caught.value.param == param


def test_answers_are_shaped_as_they_were_asked() -> None:
    """Numbers as a list or in base64, shards that are missing by name."""
    vector = np.array([1.0, 2.0, 3.0], np.float32)
    match = Match("a", 0.5, {"n": 1}, vector)

    plain = queried_of([match], "space", {}, packed=False)
    packed = queried_of([match], "space", {"s1": "no answer in time"}, packed=True)

    assert (plain.matches[0].values, plain.partial, plain.namespace) == ([1.0, 2.0, 3.0], False, "space")
    assert packed.matches[0].values == base64.b64encode(vector.tobytes()).decode()
    assert (packed.partial, packed.missing) == (True, {"s1": "no answer in time"})


def test_fetched_records_have_what_was_asked_for() -> None:
    """A record without metadata has none, one without numbers neither."""
    fetched = fetched_of({"a": Record("a", None, {"n": 1}), "b": Record("b", np.ones(2, np.float32))}, "")

    assert fetched.vectors == {"a": VectorItem("a", None, {"n": 1}), "b": VectorItem("b", [1.0, 1.0])}
