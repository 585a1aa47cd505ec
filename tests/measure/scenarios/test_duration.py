"""Durations in the words of k6."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.errors import ConfigError
from paceline.measure.scenarios.duration import duration_s, written


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        (90, 90),
        (1.5, 1.5),
        ("90s", 90),
        ("1m30s", 90),
        (" 500ms ", 0.5),
        ("1.5h", 5400),
        ("1d", 86_400),
        ("10us", 1e-5),
    ],
)
def test_what_is_understood(text, seconds):
    assert duration_s(text, param="--duration") == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "soon", "1 m", "30 s 2", "1x", "m", "-5", "-5s", "nan", "inf", "0", "0s"]
)
def test_what_is_refused_names_its_option(text):
    with pytest.raises(ConfigError, match="--duration") as caught:
        duration_s(text, param="--duration")

    assert caught.value.param == "--duration"


def test_nothing_is_a_duration_where_it_means_something():
    assert duration_s("0s", param="--warm-up", zero=True) == 0


@given(st.integers(0, 10**9))
def test_what_is_written_reads_the_same(milliseconds):
    assert duration_s(written(milliseconds / 1000), param="x", zero=True) == pytest.approx(
        milliseconds / 1000
    )
