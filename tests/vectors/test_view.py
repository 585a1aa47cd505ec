"""How a search goes about the parts of a collection, and how far in each."""

from __future__ import annotations

from pathlib import Path

import pytest
from collections_of import STILL, add, filled, policy, vector, vectors
from hypothesis import given
from hypothesis import strategies as st
from test_tail import PLAN, tail_of

from paceline.vectors.collection import Collection
from paceline.vectors.record import Record
from paceline.vectors.view import Part, View, part_ef


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


def view_of(collection: Collection) -> View:
    """What is there now."""
    return collection._state.view


def test_a_plan_is_made_once_for_what_is_asked_alike(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 50, STILL) as collection:
        view = view_of(collection)

        plan = view.planned(10, 100, 32, "")

        assert plan is not None
        assert view.planned(10, 100, 32, "") is plan
        assert view.planned(5, 100, 32, "") is not plan
        assert (plan.most_scanned, len(plan.steps)) == (50, 1)


def test_a_plan_is_made_anew_once_the_graph_has_grown() -> None:
    tail = tail_of(3000, PLAN)
    view = View((), Part(tail.visible()), 1)
    before = view.planned(10, 100, 32, "")
    while tail.grow(512):
        pass

    after = view.planned(10, 100, 32, "")

    assert before is not None
    assert after is not None
    assert (before.most_scanned, after.most_scanned) == (3000, 0)


def test_there_is_no_plan_where_rows_must_be_chosen_first_or_there_are_none(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 50, STILL) as collection:
        assert view_of(collection).planned(10, 100, 32, "other") is None
        collection.upsert([Record("x", vector(1), None, "other")])
        assert view_of(collection).planned(10, 100, 32, "other") is None


@pytest.mark.parametrize("queries", [1, 20])
def test_all_parts_are_searched_and_each_result_is_of_its_part(tmp_path: Path, queries: int) -> None:
    """Sealed with a graph, sealed without, and fresh; some of each deleted."""
    with filled(tmp_path / "c", 300, policy(seal_rows=100, graph_rows=100)) as collection:
        collection.settle()
        add(collection, 40, 300)
        collection.delete([f"v{i}" for i in range(0, 340, 7)])
        asked = vectors(queries, 5)

        found = collection.query(asked, 5, ef=300, include_metadata=True)
        exact = collection.query(asked, 5, exact=True, include_metadata=True)

        assert len(view_of(collection).parts) >= 2
        assert found == exact
