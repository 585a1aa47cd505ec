"""A scan returns the best rows of those it may, by the scores that the plain twin gives."""

from __future__ import annotations

import numpy as np
import pytest
from clustered import clustered
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.base.errors import InvalidRequest
from paceline.vectors.bitmap import bitmap_of
from paceline.vectors.codes import PRECISIONS, Coded, Coder, Precision
from paceline.vectors.exact import ExactSearch, nearest, recall
from paceline.vectors.metric import Metric, entered, scores

METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(PRECISIONS),
    st.sampled_from(METRICS),
    st.integers(1, 200),
    st.integers(1, 40),
    st.integers(0, 1000),
)
def test_scores_are_those_of_the_plain_twin(
    precision: Precision, metric: Metric, dimensions: int, count: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    vectors = draw.standard_normal((count, dimensions)).astype(np.float32)
    queries = draw.standard_normal((3, dimensions)).astype(np.float32)
    coded = Coded.of(Coder.learn(vectors, precision, metric), vectors)

    ids, found = ExactSearch(coded).search(queries, count)

    expected = coded.coder.scores(queries, coded.rows)
    np.testing.assert_array_equal(np.sort(ids), np.tile(np.arange(count), (3, 1)))
    # a query's number that lies between two bytes may be rounded to either: a byte of the largest weight
    slack = 0.02 * np.abs(expected).max() if precision in {"int8", "binary"} else 2e-5 * dimensions
    np.testing.assert_allclose(found, np.take_along_axis(expected, ids, 1), atol=slack)
    assert (np.diff(found) <= 0).all()


@pytest.mark.parametrize("metric", METRICS)
def test_float32_rows_give_the_truth(metric: Metric) -> None:
    vectors, queries = clustered(3000), clustered(70, seed=2)
    coded = Coded.of(Coder.learn(vectors, "fp32", metric), vectors)

    ids, found = ExactSearch(coded).search(queries, 10)

    truth, best = nearest(queries, vectors, 10, metric)
    np.testing.assert_array_equal(ids, truth)
    np.testing.assert_allclose(found, best, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("precision", "least"), [("int8", 0.999), ("binary", 0.9)])
@pytest.mark.parametrize("metric", METRICS)
def test_rescoring_repairs_coarse_codes(precision: Precision, least: float, metric: Metric) -> None:
    vectors, queries = clustered(3000, 128), clustered(50, 128, seed=2)
    fine = Coded.of(Coder.learn(vectors, "fp32", metric), vectors)
    coarse = Coded.of(Coder.learn(vectors, precision, metric), vectors)
    truth, best = nearest(queries, vectors, 10, metric)

    ids, found = ExactSearch(coarse, fine).search(queries, 10, candidates=100)

    assert recall(ids, truth) >= least
    assert recall(ids, truth) > recall(ExactSearch(coarse).search(queries, 10)[0], truth)
    hit = ids[:, 0] == truth[:, 0]
    np.testing.assert_allclose(found[hit, 0], best[hit, 0], rtol=1e-4, atol=1e-4)


def test_a_subset_is_given_by_bitmap_or_by_rows() -> None:
    vectors = clustered(1000)
    allowed, deleted = np.random.default_rng(3).random((2, 1000)) < 0.3
    search = ExactSearch(Coded.of(Coder.learn(vectors, "fp32"), vectors))

    by_bitmaps = search.search(vectors[:5], 10, allowed=bitmap_of(allowed), deleted=bitmap_of(deleted))
    by_rows = search.search(
        vectors[:5], 10, rows=np.flatnonzero(allowed).astype(np.int32), deleted=bitmap_of(deleted)
    )

    rows = np.flatnonzero(allowed & ~deleted)
    expected = rows[nearest(vectors[:5], vectors[rows], 10)[0]]
    np.testing.assert_array_equal(by_bitmaps[0], expected)
    np.testing.assert_array_equal(by_rows[0], expected)


def test_what_is_not_deleted_is_found_without_a_filter() -> None:
    vectors = clustered(100)
    search = ExactSearch(Coded.of(Coder.learn(vectors, "fp32"), vectors))
    deleted = bitmap_of(np.arange(100) != 70)

    ids, _ = search.search(vectors[0], 3, deleted=deleted)

    assert ids.tolist() == [[70, -1, -1]]


def test_equal_scores_come_by_rising_row() -> None:
    vectors = np.ones((50, 8), np.float32)
    search = ExactSearch(Coded.of(Coder.learn(vectors, "int8", "dot"), vectors))

    assert search.search(vectors[0], 4)[0].tolist() == [[0, 1, 2, 3]]
    assert nearest(vectors[0], vectors, 4, "dot")[0].tolist() == [[0, 1, 2, 3]]


def test_missing_results_are_minus_one() -> None:
    vectors = np.eye(3, dtype=np.float32)
    search = ExactSearch(Coded.of(Coder.learn(vectors, "fp32"), vectors))

    ids, found = search.search(vectors[1], 5)

    assert ids.tolist() == [[1, 0, 2, -1, -1]]
    assert found[0, 3] == -np.inf
    assert nearest(vectors[1], vectors, 5)[0].tolist() == [[1, 0, 2, -1, -1]]
    assert search.search(vectors[1], 1, allowed=bitmap_of(np.zeros(3, np.bool_)))[0].tolist() == [[-1]]


def test_threads_share_the_queries() -> None:
    vectors = clustered(500)
    search = ExactSearch(Coded.of(Coder.learn(vectors, "int8"), vectors))

    alone, shared = search.search(vectors, 5), search.search(vectors, 5, threads=2)

    np.testing.assert_array_equal(shared[0], alone[0])
    np.testing.assert_array_equal(shared[1], alone[1])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 100_000}, "ask for 1 to 10000"),
        ({"k": 1, "candidates": 5000}, "candidates is 5000"),
        ({"k": 1, "allowed": np.zeros(3, np.uint64)}, "a bitmap of 100 rows is"),
        ({"k": 1, "rows": np.array([100], np.int32)}, "outside 0 to 99"),
    ],
)
def test_impossible_requests_are_refused(asked: dict[str, object], message: str) -> None:
    vectors = clustered(100)
    search = ExactSearch(Coded.of(Coder.learn(vectors, "int8"), vectors))

    with pytest.raises(InvalidRequest, match=message):
        search.search(vectors[0], **asked)


@pytest.mark.parametrize(
    ("query", "message"),
    [(np.zeros(48), "query 0 is all zeros"), (np.full(48, np.nan), "NaN"), (np.ones(47), "47 dimensions")],
)
def test_impossible_queries_are_refused(query: np.ndarray, message: str) -> None:
    vectors = clustered(100)
    search = ExactSearch(Coded.of(Coder.learn(vectors, "int8"), vectors))

    with pytest.raises(InvalidRequest, match=message):
        search.search(query, 1)


def test_scores_of_normalised_vectors_are_cosines() -> None:
    vectors = clustered(200)
    search = ExactSearch(Coded.of(Coder.learn(vectors, "fp32"), vectors))

    ids, found = search.search(vectors[:3], 4)

    expected = scores(entered(vectors[:3], "cosine"), entered(vectors, "cosine"), "cosine")
    np.testing.assert_allclose(found, np.take_along_axis(expected, ids, 1), rtol=1e-5)
