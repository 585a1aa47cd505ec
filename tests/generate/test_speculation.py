"""Guesses by looking up how the text went on before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.generate.speculation import guess


def of(text: str) -> np.ndarray:
    return np.array([ord(letter) for letter in text], dtype=np.int32)


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("abcdeXabc", 3, "deX"),
        ("abcdeXabc", 1, "d"),
        ("abc1 abc2 abc", 1, "2"),  # the last earlier place counts
        ("zabc1 yabc2 zabc", 1, "1"),  # the longest match goes before the last one
        ("abcdef", 4, ""),  # nothing repeats
        ("a", 4, ""),
        ("xaya", 4, ""),  # one token alone is no hint
    ],
)
def test_a_guess_is_what_followed_the_last_time(text, count, expected):
    assert guess(of(text), count) == of(expected).tolist()


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(1, 6))
def test_a_guess_is_part_of_the_text(tokens, count):
    found = guess(np.array(tokens, dtype=np.int32), count)

    assert len(found) <= count
    assert not found or any(tokens[i : i + len(found)] == found for i in range(len(tokens)))
