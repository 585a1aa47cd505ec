"""Log-probabilities under the model's own logits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.generate.logprobs import log_total, token_logprobs, top_logprobs

rows = st.lists(st.floats(-80, 80, width=32) | st.just(-np.inf), min_size=1, max_size=60).filter(
    lambda row: max(row) > -np.inf
)


def exact(row: np.ndarray) -> np.ndarray:
    wide = row.astype(np.float64)
    return wide - (wide.max() + np.log(np.exp(wide - wide.max()).sum()))


@given(rows)
@settings(deadline=None)
def test_they_are_the_log_softmax(row: list[float]):
    logits = np.array(row, np.float32)

    np.testing.assert_allclose(logits.astype(np.float64) - log_total(logits), exact(logits), atol=1e-6)


@given(rows, st.integers(0, 70))
@settings(deadline=None)
def test_the_likeliest_come_first_and_lower_ids_first_among_equals(row: list[float], count: int):
    logits = np.array(row, np.float32)
    expected = sorted(range(len(row)), key=lambda token: (-logits[token], token))[:count]

    assert [token for token, _ in top_logprobs(logits, count)] == expected


def test_scoring_tells_each_targets_logprob_and_whether_it_was_the_likeliest():
    logits = np.array([[0, 2, 2], [1, 0, 0], [5, 1, 1]], np.float32)
    logprobs, likeliest = token_logprobs(logits, np.array([1, 2, 0], np.int32))

    assert logprobs == pytest.approx(
        [exact(logits[0])[1], exact(logits[1])[2], exact(logits[2])[0]], abs=1e-6
    )
    assert likeliest.tolist() == [True, False, True]


def test_huge_logits_do_not_overflow():
    assert log_total(np.array([3e38, 3e38], np.float32)) == pytest.approx(3e38, rel=1e-6)
