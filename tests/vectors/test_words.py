"""A sorted dictionary that is searched where it lies."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from hypothesis import given
from hypothesis import strategies as st

from paceline.vectors.words import Words

TEXTS = st.lists(st.text(alphabet="ab\u00e4\U0001f600", max_size=3))


@given(TEXTS, st.text(alphabet="ab\u00e4\U0001f600", max_size=3))
def test_it_is_a_sorted_list_of_those_that_differ(texts: list[str], asked: str) -> None:
    """Places are those of Python's bisection."""
    words, plain = Words.of(texts), sorted(set(texts))

    assert [words[code] for code in range(len(words))] == plain
    assert words.codes() == {word: code for code, word in enumerate(plain)}
    assert words.before(asked) == bisect_left(plain, asked)
    assert words.before(asked, or_equal=True) == bisect_right(plain, asked)
    assert words.find(asked) == (plain.index(asked) if asked in plain else -1)
