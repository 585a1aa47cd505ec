"""Reductions keep what they declare: first dimensions, or the directions of the largest spread."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from clustered import clustered

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.vectors.exact import nearest, recall
from paceline.vectors.metric import Metric
from paceline.vectors.preprocess import Preprocess, PreprocessShape


def test_none_changes_nothing() -> None:
    vectors = clustered(5)

    np.testing.assert_array_equal(Preprocess.learn(vectors).apply(vectors), vectors)


def test_truncation_keeps_the_first_dimensions_and_normalises_them() -> None:
    preprocess = Preprocess.learn([[3.0, 4.0, 12.0]], "truncate", 2)

    np.testing.assert_allclose(preprocess.apply([[3.0, 4.0, 12.0]]), [[0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_pca_keeps_neighbours_that_truncation_loses(metric: Metric) -> None:
    vectors, queries = clustered(1500), clustered(50, seed=2)
    truth, _ = nearest(queries, vectors, 10, metric)

    def kept(reduction: str) -> float:
        preprocess = Preprocess.learn(vectors, reduction, 24, metric)
        return recall(nearest(preprocess.apply(queries), preprocess.apply(vectors), 10, metric)[0], truth)

    assert kept("pca") > kept("truncate")


def test_pca_of_all_dimensions_is_a_rotation() -> None:
    vectors = clustered(200)
    preprocess = Preprocess.learn(vectors, "pca", 0, "l2")

    turned = preprocess.apply(vectors)

    np.testing.assert_array_equal(
        nearest(turned[:9], turned, 3, "l2")[0], nearest(vectors[:9], vectors, 3, "l2")[0]
    )


def test_a_preprocessing_comes_back_from_its_parts() -> None:
    vectors = clustered(200)
    preprocess = Preprocess.learn(vectors, "pca", 8)

    shape = msgspec.json.decode(msgspec.json.encode(preprocess.shape), type=PreprocessShape)
    again = Preprocess.from_parts(shape, preprocess.arrays())

    np.testing.assert_array_equal(again.apply(vectors), preprocess.apply(vectors))


def test_impossible_reductions_are_refused() -> None:
    with pytest.raises(ConfigError, match="5 of 2 dimensions"):
        Preprocess.learn([[1.0, 2.0]], "truncate", 5)
    with pytest.raises(ConfigError, match="learns from 2 vectors or more"):
        Preprocess.learn([[1.0, 2.0]], "pca", 2)
    with pytest.raises(InvalidRequest, match="after truncate to 1 dimensions: vector 0 is all zeros"):
        Preprocess.learn([[1.0, 2.0]], "truncate", 1).apply([[0.0, 1.0]])
