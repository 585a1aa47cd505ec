"""Rows decode to what was encoded, as nearly as their precision allows, and keep their parameters."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from clustered import clustered
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.vectors.codes import PRECISIONS, Coder, CoderShape, Precision
from paceline.vectors.metric import Metric, entered, scores

METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")
RELATIVE_ERROR = {"fp32": 1e-6, "fp16": 1e-3, "bf16": 1e-2, "int8": 0.02, "binary": 0.9}
"""Length of the difference to the length of the vector, in nine of ten vectors at most."""


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_row_decodes_to_its_vector(precision: Precision, metric: Metric) -> None:
    vectors = clustered(500)
    coder = Coder.learn(vectors, precision, metric)

    decoded = coder.decode(coder.encode(vectors))

    stored = entered(vectors, metric)
    error = np.linalg.norm(decoded - stored, axis=1) / np.linalg.norm(stored, axis=1)
    assert np.quantile(error, 0.9) <= RELATIVE_ERROR[precision]


@pytest.mark.parametrize(
    ("precision", "dimensions", "expected"),
    [
        ("fp32", 384, 1536),
        ("fp16", 384, 768),
        ("bf16", 384, 768),
        ("int8", 384, 384),
        ("binary", 384, 64),
        ("int8", 100, 128),
    ],
)
def test_a_row_is_whole_cache_lines(precision: Precision, dimensions: int, expected: int) -> None:
    vectors = clustered(10, dimensions)
    coder = Coder.learn(vectors, precision)

    rows = coder.encode(vectors)

    assert coder.row_bytes == expected
    assert rows.shape == (10, expected)
    assert rows.ctypes.data % 64 == 0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_coder_comes_back_from_its_parts(precision: Precision) -> None:
    vectors = clustered(100)
    coder = Coder.learn(vectors, precision)

    kept = msgspec.json.encode(coder.shape)
    again = Coder.from_parts(msgspec.json.decode(kept, type=CoderShape), coder.arrays())

    np.testing.assert_array_equal(again.encode(vectors), coder.encode(vectors))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_scores_of_codes_are_near_those_of_vectors(precision: Precision, metric: Metric) -> None:
    vectors, queries = clustered(500), clustered(20, seed=2)
    coder = Coder.learn(vectors, precision, metric)

    found = coder.scores(queries, coder.encode(vectors))

    expected = scores(entered(queries, metric), entered(vectors, metric), metric)
    agreement = np.corrcoef(found.ravel(), expected.ravel())[0, 1]
    assert agreement > (0.8 if precision == "binary" else 0.999)


def test_the_int8_range_leaves_out_rare_outliers() -> None:
    sample = np.random.default_rng(1).uniform(-1, 1, (5000, 16)).astype(np.float32)
    sample[0, 0] = 1000

    coder = Coder.learn(sample, "int8", "dot")

    assert coder.step[0] * 255 == pytest.approx(2, rel=0.01)
    assert coder.decode(coder.encode(sample))[0, 0] == pytest.approx(1, rel=0.01)


@given(arrays(np.float32, (3, 5), elements=st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False)))
@settings(max_examples=50, deadline=None)
def test_bf16_is_the_nearest_of_its_numbers(vectors: np.ndarray) -> None:
    coder = Coder.learn(vectors, "bf16", "dot")

    decoded = coder.decode(coder.encode(vectors))

    assert (np.abs(decoded - vectors) <= np.abs(vectors) / 256).all()


@given(
    st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False),
    st.sampled_from(PRECISIONS[3:]),
    st.sampled_from(METRICS[1:]),
)
@settings(max_examples=30, deadline=None)
def test_a_sample_of_one_number_is_learned_from(value: float, precision: Precision, metric: Metric) -> None:
    vectors = np.full((3, 8), value, np.float32)
    coder = Coder.learn(vectors, precision, metric)

    decoded = coder.decode(coder.encode(vectors))

    np.testing.assert_allclose(decoded, vectors, rtol=1e-5, atol=1e-30)


def test_what_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="the sample is empty"):
        Coder.learn(np.zeros((0, 4), np.float32), "int8", "dot")
    with pytest.raises(ConfigError, match="'int4' is unknown"):
        Coder.learn([[1.0]], "int4")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="above 65504 of fp16"):
        Coder.learn([[1e6]], "fp16", "dot").encode([[1e6]])
