"""How far a search goes in each part of a collection."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paceline.vectors.view import part_ef


def test_the_only_graph_is_searched_as_asked() -> None:
    assert part_ef(100, 10, 5000, 5000) == 100
    assert part_ef(100, 10, 5000, 4000) == 100  # some are deleted


@given(
    ef=st.integers(1, 10_000),
    k=st.integers(1, 1000),
    rows=st.integers(1, 100_000),
    more=st.integers(0, 1_000_000),
)
def test_a_smaller_graph_is_searched_less_but_for_k_at_least(ef: int, k: int, rows: int, more: int) -> None:
    scaled = part_ef(ef, k, rows, rows + more)

    assert min(ef, k) <= scaled <= ef
    assert scaled <= part_ef(ef, k, rows, rows + more // 2)
