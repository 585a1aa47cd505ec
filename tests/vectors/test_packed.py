"""Byte strings end to end."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from paceline.vectors.packed import Packed

ITEMS = st.lists(st.binary(max_size=12), max_size=30)


@given(ITEMS)
def test_what_is_packed_is_unpacked(items: list[bytes]) -> None:
    packed = Packed.of(items)

    assert list(packed) == items
    assert [packed[i] for i in range(len(packed))] == items


@given(ITEMS, st.data())
def test_strings_are_taken_in_any_order(items: list[bytes], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(items) - 1), max_size=40)) if items else []

    assert list(Packed.of(items).taken(np.array(rows, np.int32))) == [items[row] for row in rows]


@given(st.lists(ITEMS, min_size=1, max_size=4))
def test_several_are_joined(parts: list[list[bytes]]) -> None:
    assert list(Packed.joined([Packed.of(items) for items in parts])) == [
        item for part in parts for item in part
    ]
