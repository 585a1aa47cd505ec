"""A search through the graph finds what the exact one does, whatever may not be returned."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from clustered import clustered
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.vectors.bitmap import bitmap_of
from paceline.vectors.codes import Coded, Coder, Precision
from paceline.vectors.compiled.records import REACH_UNIT
from paceline.vectors.compiled.steps import search_steps
from paceline.vectors.exact import nearest, recall
from paceline.vectors.graph import Graph
from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.growing import build_graph
from paceline.vectors.metric import Metric
from paceline.vectors.plain_walk import plain_walk
from paceline.vectors.steps import Step

COUNT = 3000
VECTORS = clustered(COUNT)
QUERIES = clustered(100, seed=2)


@cache
def graph_of(metric: Metric) -> Graph:
    """The graph of VECTORS."""
    return build_graph(VECTORS, metric)


def search_of(vectors: np.ndarray, precision: Precision = "int8", metric: Metric = "cosine") -> GraphSearch:
    coded = Coded.of(Coder.learn(vectors, precision, metric), vectors)
    fine = Coded.of(Coder.learn(vectors, "fp16", metric), vectors)
    return GraphSearch(graph_of(metric) if vectors is VECTORS else build_graph(vectors, metric), coded, fine)


@pytest.fixture(scope="module")
def search() -> GraphSearch:
    return search_of(VECTORS)


@settings(max_examples=80, deadline=None)
@given(
    ef=st.integers(1, 60),
    k=st.integers(1, 60),
    filtered=st.booleans(),
    share=st.floats(0.05, 1),
    query=st.integers(0, 98),
    metric=st.sampled_from(["cosine", "l2"]),
)
def test_the_walk_is_that_of_the_plain_twin_alone_and_in_turns(
    ef: int, k: int, filtered: bool, share: float, query: int, metric: Metric
) -> None:
    walk = unrescored(metric)
    allowed = np.random.default_rng(query).random(COUNT) < share
    order = np.asarray(walk.coded.coder.scores(QUERIES[query], walk.coded.rows)[0], np.float64)

    bitmap = bitmap_of(allowed) if filtered else None
    found, _ = walk.search(QUERIES[query], k, ef, allowed=bitmap, plan="walk")
    in_turns, _ = walk.search(QUERIES[query : query + 2], k, ef, allowed=bitmap, plan="walk")

    far = (1.0 if metric == "cosine" else 0.0) - order
    step = walk.step(k, ef, 0)
    if bitmap is not None:
        good = int(allowed.sum())
        step = walk.masked_step(k, ef, candidates=0, allowed=bitmap, deleted=None, good=good, plan="walk")
    wanted = step.wanted
    expected = plain_walk(
        walk.graph,
        order_of(order),
        wanted.ef,
        room=wanted.room,
        need=wanted.need,
        may_return=(lambda row: bool(allowed[row])) if filtered else None,
        least=wanted.least,
        is_far=(lambda row, near: len(near) >= k and far[row] > wanted.reach / REACH_UNIT * far[near[k - 1]])
        if wanted.reach
        else None,
    )[:k]
    assert [row for row in found[0] if row >= 0] == expected
    np.testing.assert_array_equal(in_turns[0], found[0])


def test_a_walk_among_few_good_rows_goes_on_whatever_is_out_of_reach() -> None:
    walk = unrescored("cosine")

    def step(good: int) -> Step:
        allowed = bitmap_of(np.arange(COUNT) < good)
        made = walk.masked_step(10, 40, candidates=0, allowed=allowed, deleted=None, good=good, plan="walk")
        assert made is not None
        return made

    assert (step(COUNT // 2).wanted.ef, step(COUNT // 2).wanted.reach) == (40, 0)
    assert step(COUNT - 100).wanted.ef == 60
    assert step(COUNT - 100).wanted.reach == walk.step(10, 40, 0).wanted.reach > 0


def order_of(scores: np.ndarray) -> Callable[[int], int]:
    """What orders rows as their scores do."""
    scaled = np.round((scores - scores.min()) / (np.ptp(scores) or 1) * 2**30).astype(np.int64)
    return lambda row: int(scaled[row])


@cache
def unrescored(metric: Metric) -> GraphSearch:
    """Its order is that of the codes alone."""
    return GraphSearch(graph_of(metric), Coded.of(Coder.learn(VECTORS, "int8", metric), VECTORS))


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize(
    ("precision", "least"), [("fp32", 0.98), ("fp16", 0.98), ("bf16", 0.98), ("int8", 0.98), ("binary", 0.5)]
)
def test_the_defaults_find_nearly_all(precision: Precision, least: float, metric: Metric) -> None:
    walk = search_of(VECTORS, precision, metric)

    ids, _ = walk.search(QUERIES, 10, 100)

    assert recall(ids, nearest(QUERIES, VECTORS, 10, metric)[0]) >= least


def test_a_larger_ef_finds_more(search: GraphSearch) -> None:
    truth, _ = nearest(QUERIES, VECTORS, 10)

    few, many = (recall(search.search(QUERIES, 10, ef, candidates=ef)[0], truth) for ef in (10, 200))

    assert few < many
    assert many >= 0.995


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.001, 0.01, 0.1, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("plan", ["auto", "walk", "scan"])
def test_a_filter_keeps_recall_and_is_kept(search: GraphSearch, share: float, plan: str) -> None:
    allowed = np.random.default_rng(5).random(COUNT) < share
    rows = np.flatnonzero(allowed)

    ids, _ = search.search(QUERIES, 10, 100, allowed=bitmap_of(allowed), plan=plan)

    assert allowed[ids[ids >= 0]].all()
    truth, _ = nearest(QUERIES, VECTORS[rows], 10) if len(rows) else (np.full((100, 10), -1), None)
    least = 0.99 if plan != "walk" or share >= 0.1 else 0.0
    assert len(rows) == 0 or recall(ids, np.where(truth >= 0, rows[truth], -1)) >= least


def test_a_filter_on_a_cluster_far_from_the_query_keeps_recall(search: GraphSearch) -> None:
    near = VECTORS @ QUERIES[0]
    allowed = near < np.quantile(near, 0.07)
    rows = np.flatnonzero(allowed)

    ids, _ = search.search(QUERIES[0], 10, 100, allowed=bitmap_of(allowed))

    assert recall(ids, rows[nearest(QUERIES[:1], VECTORS[rows], 10)[0]]) >= 0.9


def test_deleted_rows_are_never_returned(search: GraphSearch) -> None:
    deleted = np.random.default_rng(6).random(COUNT) < 0.5
    allowed = np.random.default_rng(7).random(COUNT) < 0.5

    for filtered in (None, bitmap_of(allowed)):
        ids, _ = search.search(QUERIES, 10, 100, allowed=filtered, deleted=bitmap_of(deleted), plan="walk")

        assert (ids >= 0).all()
        assert not deleted[ids].any()
        assert filtered is None or allowed[ids].all()


def test_all_rows_come_when_more_are_asked_for() -> None:
    walk = search_of(VECTORS[:20])

    ids, found = walk.search(VECTORS[3], 50, 10)

    assert sorted(ids[0, :20]) == list(range(20))
    assert ids[0, 0] == 3
    assert set(ids[0, 20:]) == {-1}
    assert (found[0, 20:] == -np.inf).all()


def test_nothing_is_found_among_no_rows() -> None:
    none = VECTORS[:0]
    coded = Coded.of(Coder.learn(VECTORS, "int8"), none)
    walk = GraphSearch(build_graph(none), coded)

    assert walk.search(QUERIES[0], 2, 100)[0].tolist() == [[-1, -1]]
    assert walk.search(QUERIES[0], 2, 100, allowed=np.zeros(0, np.uint64))[0].tolist() == [[-1, -1]]


def test_one_row_is_found() -> None:
    walk = search_of(VECTORS[:1])

    ids, found = walk.search(VECTORS[0], 2, 100)

    assert ids.tolist() == [[0, -1]]
    assert found[0, 0] == pytest.approx(1, abs=1e-3)


def test_duplicates_are_all_found() -> None:
    vectors = np.concatenate([VECTORS[:300], np.tile(VECTORS[0], (9, 1))])
    walk = search_of(vectors)

    ids, _ = walk.search(VECTORS[0], 10, 100)

    assert ids.tolist() == [[0, *range(300, 309)]]


def test_a_query_alone_is_as_in_a_batch_and_in_threads(search: GraphSearch) -> None:
    batch = search.search(QUERIES, 10, 64)

    shared = search.search(QUERIES, 10, 64, threads=2)
    alone = [search.search(query, 10, 64) for query in QUERIES]

    np.testing.assert_array_equal(shared[0], batch[0])
    np.testing.assert_array_equal(np.concatenate([ids for ids, _ in alone]), batch[0])
    np.testing.assert_array_equal(np.concatenate([found for _, found in alone]), batch[1])


def test_read_only_queries_are_searched_without_compiling_anew(search: GraphSearch) -> None:
    frozen = QUERIES.copy()
    frozen.flags.writeable = False

    ids, _ = search.search(frozen, 10, 64)
    one, _ = search.search(frozen[3], 10, 64)

    np.testing.assert_array_equal(ids, search.search(QUERIES, 10, 64)[0])
    np.testing.assert_array_equal(one[0], ids[3])
    assert len(search_steps.signatures) == 1


def test_scores_are_those_of_the_finer_copy(search: GraphSearch) -> None:
    ids, found = search.search(QUERIES, 10, 100)

    expected = np.take_along_axis(search.rescore.coder.scores(QUERIES, search.rescore.rows), ids, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_arrays_may_be_memory_maps(search: GraphSearch, tmp_path: Path) -> None:
    def mapped(name: str, array: np.ndarray) -> np.ndarray:
        np.save(tmp_path / f"{name}.npy", array)
        return np.load(tmp_path / f"{name}.npy", mmap_mode="r")

    graph = search.graph
    arrays = [mapped(name, getattr(graph, name)) for name in ("base", "upper", "upper_at")]
    coded, fine = (
        Coded(of.coder, mapped(of.coder.shape.precision, of.rows)) for of in (search.coded, search.rescore)
    )

    again = GraphSearch(Graph(*arrays, graph.entry, graph.levels), coded, fine)

    np.testing.assert_array_equal(again.search(QUERIES, 10, 64)[0], search.search(QUERIES, 10, 64)[0])


def test_parts_of_different_length_are_refused() -> None:
    coded = Coded.of(Coder.learn(VECTORS, "int8"), VECTORS[:10])

    with pytest.raises(InvalidRequest, match="the graph has 20 rows, the codes 10"):
        GraphSearch(build_graph(VECTORS[:20]), coded)


def test_an_impossible_graph_is_refused() -> None:
    with pytest.raises(ConfigError, match="m is 1 "):
        build_graph(VECTORS[:5], m=1)
