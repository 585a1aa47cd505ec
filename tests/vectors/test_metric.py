"""Scores are higher for what is nearer, and input that has none is refused."""

from __future__ import annotations

import numpy as np
import pytest

from paceline.base.errors import InvalidRequest
from paceline.vectors.metric import Metric, checked, entered, scores


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("cosine", [1.0, 0.6, -1.0]), ("dot", [2.0, 6.0, -2.0]), ("l2", [-1.0, -89.0, -9.0])],
)
def test_a_score_is_the_cosine_the_inner_product_or_minus_the_squared_distance(
    metric: Metric, expected: list[float]
) -> None:
    vectors = entered([[2.0, 0.0], [6.0, 8.0], [-2.0, 0.0]], metric)

    found = scores(entered([1.0, 0.0], metric), vectors, metric)

    np.testing.assert_allclose(found, [expected], rtol=1e-6)


def test_vectors_are_normalised_under_cosine_only() -> None:
    given = np.array([[3.0, 4.0]], np.float32)

    np.testing.assert_allclose(entered(given, "cosine"), [[0.6, 0.8]], rtol=1e-6)
    np.testing.assert_array_equal(entered(given, "dot"), given)
    np.testing.assert_array_equal(entered(given, "l2"), given)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0, np.nan]], "vector 0 holds NaN"),
        ([[1.0, 1.0], [np.inf, 1.0]], "vector 1 holds NaN or an infinity"),
        ([[1.0, 2.0, 3.0]], "3 dimensions, the index has 2"),
        ([[[1.0]]], "shape"),
        ([[]], "shape"),
    ],
)
def test_what_is_no_vector_is_refused_with_its_place(vectors: list[object], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        checked(vectors, 2)


def test_zeros_have_no_cosine() -> None:
    with pytest.raises(InvalidRequest, match="vector 1 is all zeros"):
        entered([[1.0, 0.0], [0.0, 0.0]], "cosine")
