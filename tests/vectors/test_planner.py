"""A filtered search finds the true best whatever passes, and learns which plan finds them sooner."""

from __future__ import annotations

import numpy as np
import pytest
from clustered import clustered
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.vectors.bitmap import bitmap_of
from paceline.vectors.codes import Coded, Coder
from paceline.vectors.costs import Costs
from paceline.vectors.exact import nearest, recall
from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.growing import build_graph
from paceline.vectors.planner import Planner

COUNT = 6000
VECTORS = clustered(COUNT)
QUERIES = clustered(64, seed=2)
WALKS_ARE_CHEAP = Costs(1e-3, 1e-6, 1e-6, 1e-6, 1e-6)
SCANS_ARE_CHEAP = Costs(0.0, 1e-9, 1e-9, 1e-3, 1e-5)


@pytest.fixture(scope="module")
def search() -> GraphSearch:
    coded = Coded.of(Coder.learn(VECTORS, "int8"), VECTORS)
    return GraphSearch(build_graph(VECTORS), coded, Coded.of(Coder.learn(VECTORS, "fp16"), VECTORS))


def near(row: int, share: float) -> np.ndarray:
    """The share of rows nearest to one: an attribute that follows the vectors."""
    unit = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    return unit @ unit[row] >= np.quantile(unit @ unit[row], 1 - share)


def truth(mask: np.ndarray, k: int = 10) -> np.ndarray:
    """The best rows that pass, -1 where there are no more."""
    rows = np.append(np.flatnonzero(mask), -1)
    found, _ = nearest(QUERIES, VECTORS[rows[:-1]], k)
    return rows[found].astype(np.int32)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("costs", [WALKS_ARE_CHEAP, SCANS_ARE_CHEAP, None])
def test_recall_holds_at_every_selectivity(search: GraphSearch, share: float, costs: Costs | None) -> None:
    """Of random rows, whatever the costs make of the plan."""
    mask = np.random.default_rng(3).random(COUNT) < share

    found, _ = Planner(search, costs).search(QUERIES, 10, 100, allowed=bitmap_of(mask))

    assert recall(found, truth(mask)) >= 0.99


@pytest.mark.parametrize("share", [0.07, 0.5])
@pytest.mark.parametrize("costs", [WALKS_ARE_CHEAP, SCANS_ARE_CHEAP])
def test_recall_holds_for_an_attribute_that_follows_the_vectors(
    search: GraphSearch, share: float, costs: Costs
) -> None:
    """Queries in its midst and far from it, one by one and together."""
    mask, planner = near(17, share), Planner(search, costs)

    alone = np.concatenate([planner.search(query, 10, 100, allowed=bitmap_of(mask))[0] for query in QUERIES])
    together, _ = planner.search(QUERIES, 10, 100, allowed=bitmap_of(mask))

    assert recall(alone, truth(mask)) >= 0.99
    assert recall(together, truth(mask)) >= 0.99


@settings(max_examples=60, deadline=None)
@given(
    share=st.floats(0, 1),
    gone=st.floats(0, 1),
    k=st.integers(1, 50),
    costs=st.sampled_from([WALKS_ARE_CHEAP, SCANS_ARE_CHEAP]),
    seed=st.integers(0, 9),
)
def test_results_are_as_many_as_there_are_and_all_may_be_returned(
    share: float, gone: float, k: int, costs: Costs, seed: int
) -> None:
    """Never a deleted row, never one twice, never fewer than there are; best first."""
    draw = np.random.default_rng(seed)
    allowed, deleted = draw.random(COUNT) < share, draw.random(COUNT) < gone
    planner = Planner(SHARED, costs)

    ids, scores = planner.search(QUERIES[:3], k, 50, allowed=bitmap_of(allowed), deleted=bitmap_of(deleted))

    good = set(np.flatnonzero(allowed & ~deleted).tolist())
    for found, near_by in zip(ids, scores, strict=True):
        rows = [row for row in found.tolist() if row >= 0]
        assert len(rows) == len(set(rows)) == min(k, len(good))
        assert set(rows) <= good
        assert (np.diff(near_by[: len(rows)]) <= 0).all()


SHARED = GraphSearch(
    build_graph(VECTORS, ef_construction=40), Coded.of(Coder.learn(VECTORS, "int8"), VECTORS)
)


def test_few_rows_are_scanned_and_many_walked_to(search: GraphSearch) -> None:
    """By the costs: the same filter, two machines."""
    mask = bitmap_of(np.random.default_rng(3).random(COUNT) < 0.3)
    scans, walks = Planner(search, SCANS_ARE_CHEAP), Planner(search, WALKS_ARE_CHEAP)
    for planner in (scans, walks):
        planner.search(QUERIES, 10, 100, allowed=mask)

    assert scans.passing(mask).walks == 0
    assert walks.passing(mask).walks == len(QUERIES)
    assert walks.passing(mask).short == 0


def test_a_filter_whose_walks_come_short_is_scanned_from_then_on(search: GraphSearch) -> None:
    """Half of all rows pass, none near the queries: only one in sixteen still tries to walk."""
    unit = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    far = unit @ unit[17] < np.quantile(unit @ unit[17], 0.5)
    costs = Costs(0.0, 1e-7, 1e-7, 0.0, 1e-6)  # a walk of 300 steps costs as much as the scan
    planner = Planner(search, costs)
    for _ in range(160):
        planner.search(VECTORS[17], 10, 100, allowed=bitmap_of(far))

    passing = planner.passing(bitmap_of(far))
    assert passing.short == pytest.approx(passing.walks)
    assert 10 <= passing.walks <= 20


def test_a_filter_is_known_by_its_content(search: GraphSearch) -> None:
    """Another array of the same bits is the same filter; rows to scan are kept for it."""
    mask = np.random.default_rng(3).random(COUNT) < 0.01
    planner = Planner(search, SCANS_ARE_CHEAP)
    planner.search(QUERIES, 10, 100, allowed=bitmap_of(mask))

    again = planner.passing(bitmap_of(mask.copy()))

    assert again.rows is not None
    assert again.rows.tolist() == np.flatnonzero(mask).tolist()
    assert again.count == mask.sum()


def test_filters_kept_are_bounded(search: GraphSearch) -> None:
    """Those asked longest ago are forgotten, their rows too."""
    planner = Planner(search, SCANS_ARE_CHEAP)
    for number in range(300):
        mask = np.zeros(COUNT, np.bool_)
        mask[number : number + 40] = True
        planner.search(QUERIES[0], 10, 100, allowed=bitmap_of(mask))

    assert len(planner._known) == 128
    assert planner._rows_bytes == 128 * 40 * 4


def test_costs_are_measured_and_grow_with_the_work(search: GraphSearch) -> None:
    """In seconds, above zero; longer walks and scans cost more."""
    costs = Costs.measured(search)

    assert 0 < costs.scan(100) < costs.scan(100_000) < 1
    assert 0 < costs.walk(10) < costs.walk(10_000) < 1
    assert costs.steps_within(costs.walk(500)) in range(499, 502)
    assert costs.steps_within(0.0) == 0
