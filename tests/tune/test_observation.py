"""What one run shows, failed requests included."""

from __future__ import annotations

from math import inf, isnan, nan

import pytest

from paceline.tune.observation import Observation


def run(*latency_ms, **changes):
    """Of one second; a NaN is a failed request."""
    failed = sum(map(isnan, latency_ms))
    return Observation(
        **{"latency_ms": latency_ms, "sent": len(latency_ms), "failed": failed, "duration_s": 1.0} | changes
    )


def test_quantiles_are_of_the_answered():
    """As reports of measured runs show them."""
    seen = run(10, nan, 30, 20, 40)

    assert (seen.p(0), seen.p(0.5), seen.p(1), seen.mean_ms, seen.max_ms) == (10, 25, 40, 25, 40)
    assert seen.error_percent == 20


def test_a_refused_request_does_not_make_the_server_faster():
    """Of all requests, the failed ones are the slowest."""
    seen = run(10, 20, 30, nan, nan)

    assert seen.p(0.5) == 20
    assert seen.p_of_all(0.5) == 30
    assert seen.p_of_all(0.25) == 20
    assert seen.p_of_all(0.6) == inf


def test_quantiles_agree_where_nothing_failed():
    """Both are type 7."""
    seen = run(*range(1, 100))

    assert [seen.p_of_all(q) for q in (0, 0.333, 0.95, 1)] == pytest.approx(
        [seen.p(q) for q in (0, 0.333, 0.95, 1)]
    )


def test_goodput_counts_answers_below_the_limit():
    """Strictly below, as an objective is met; failed requests are in the denominator."""
    seen = run(10, 20, 30, nan, duration_s=2.0)

    assert (seen.good(), seen.good(30)) == (3, 2)
    assert seen.goodput_percent(30) == 50
    assert (seen.goodput_per_s(30), seen.rate_per_s) == (1.0, 1.5)


def test_cost_is_cpu_or_engine_seconds_per_good_request():
    """Without either it is not known, without a good request infinite."""
    assert run(10, 20, cpu_s=1.0).busy_s_per_good() == 0.5
    assert run(10, 20, cpu_s=1.0).busy_s_per_good(15) == 1.0
    assert run(10, 20, metrics={"engine_s": 3.0}).busy_s_per_good() == 1.5
    assert isnan(run(10, 20).busy_s_per_good())
    assert run(10, 20, cpu_s=1.0).busy_s_per_good(5) == inf


def test_a_run_without_answers_has_no_latency():
    """Infinite, so that it sorts last, and never NaN."""
    seen = run(nan, nan)

    assert (seen.p(0.5), seen.p_of_all(0.5), seen.mean_ms, seen.max_ms) == (inf, inf, inf, inf)
    assert (seen.error_percent, seen.goodput_percent(), seen.rate_per_s) == (100, 0, 0)


def test_a_run_that_sent_nothing_served_nothing():
    """The server was down before the first request."""
    seen = run(sent=0)

    assert (seen.error_percent, seen.goodput_percent()) == (100, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"latency_ms": [[1.0]]}, "2 dimensions"), ({"duration_s": 0.0}, "duration_s is 0.0")],
)
def test_refuses_what_is_no_run(changes, message):
    """At the place where it is made, not where it is read."""
    with pytest.raises(ValueError, match=message):
        run(1.0, **changes)
