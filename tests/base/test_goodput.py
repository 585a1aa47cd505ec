"""Objectives on high percentiles become limits for each request."""

from __future__ import annotations

import pytest

from paceline.base.goodput import Limits, limits
from paceline.base.slo import DEFAULT_OBJECTIVES
from paceline.measure.slo import parse


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        (["p(95)<300"], Limits(latency=300)),
        (["p(95)<300", "p(99)<500"], Limits(latency=300)),
        (["p(99)<500", "max<200"], Limits(latency=200)),
        (["ttft p(95)<200", "tpot p(99)<50", "itl p(99)<80"], Limits(ttft=200, tpot=50, itl=80)),
        (["med<10", "avg<20", "errors<1%", "rate>100"], Limits()),
        ([], Limits()),
    ],
)
def test_the_strictest_limit_of_each_quantity_counts(thresholds, expected):
    assert limits(parse(thresholds)) == expected


def test_the_default_table_limits_latency():
    assert limits(DEFAULT_OBJECTIVES) == Limits(latency=300)
    assert not limits(DEFAULT_OBJECTIVES).streams_only
