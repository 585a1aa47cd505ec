"""A bitmap holds the rows that were put into it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from paceline.vectors.bitmap import bitmap_of, bitmap_of_rows, cut, rows_of, size_of, words_for


@given(st.lists(st.booleans(), max_size=200))
def test_a_mask_comes_back(values: list[bool]) -> None:
    mask = np.array(values, np.bool_)

    bitmap = bitmap_of(mask)

    assert bitmap.shape == (words_for(len(mask)),)
    assert size_of(bitmap) == mask.sum()
    np.testing.assert_array_equal(rows_of(bitmap, len(mask)), np.flatnonzero(mask))


def test_rows_are_bits_of_words() -> None:
    assert bitmap_of_rows([0, 65], 66).tolist() == [1, 2]


@given(count=st.integers(1, 300), share=st.integers(0, 300), seed=st.integers(0, 100))
def test_a_cut_keeps_the_rows_before_it_and_no_others(count: int, share: int, seed: int) -> None:
    mask, first = np.random.default_rng(seed).random(count) < 0.5, min(count, share)

    short = cut(bitmap_of(mask), first)

    assert short is not None
    assert rows_of(short, 64 * len(short)).tolist() == np.flatnonzero(mask[:first]).tolist()
