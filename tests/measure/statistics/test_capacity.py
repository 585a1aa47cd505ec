"""The saturation search, against queues whose capacity is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.base.errors import ConfigError
from paceline.measure.statistics.capacity import CapacitySearch
from paceline.measure.statistics.interval import Interval, quantile_interval
from paceline.measure.statistics.trend import trend
from paceline.measure.statistics.warmup import mser5
from queues import draw_service, true_quantile


def probe(random, rate, samples, service):
    """Response times of an M/G/1 queue started empty, requests done per second, and requests offered."""
    work = draw_service(random, service, (samples,))
    gaps = random.standard_exponential(samples - 1) / rate
    walk = np.concatenate([[0.0], np.cumsum(work[:-1] - gaps)])
    times = walk - np.minimum.accumulate(walk) + work
    at = np.concatenate([[0.0], np.cumsum(gaps)])
    return times.tolist(), samples / (at + times).max(), samples / at[-1]


def search(seed, limit, *, start, samples=16_000, service="exponential", **options):
    """The search as a session would run it, with p95 in mean service times."""
    random = np.random.default_rng(seed)
    plan = CapacitySearch(limit, start, **options)
    while (rate := plan.next_rate()) is not None:
        times, done, offered = probe(random, rate, samples, service)
        kept = times[mser5(times) :]
        found = quantile_interval(kept, 0.95)
        plan.tell(rate, done, found, offered_per_s=offered, rising=trend(kept) == "rising")
    return plan.result()


def covers(found, truth):
    """Whether the interval holds it."""
    return found.rate.low <= truth <= found.rate.high


@pytest.mark.parametrize("utilisation", [0.8])
def test_finds_the_capacity_of_one_queue(utilisation):
    """12 searches of at most 12 probes; 10 of 12 is two misses. The 100 repetitions are a slow test."""
    limit = true_quantile(utilisation, 0.95)
    found = [search(seed, limit, start=0.04 + 0.01 * seed) for seed in range(12)]

    assert all(capacity.outcome == "found" for capacity in found)
    assert sum(covers(capacity, utilisation) for capacity in found) >= 10
    assert all(capacity.probes <= 12 for capacity in found)
    assert np.median([(c.rate.high - c.rate.low) / 2 / c.rate.value for c in found]) <= 0.04


@pytest.mark.slow
@pytest.mark.parametrize("samples", [4_000, 16_000])
@pytest.mark.parametrize(
    ("service", "utilisation"),
    [("exponential", 0.5), ("exponential", 0.7), ("exponential", 0.85), ("lognormal", 0.8), ("bimodal", 0.6)],
)
def test_covers_the_capacity_in_100_repetitions(service, utilisation, samples):
    """The requirement: at least 90 %, whatever the service; short probes pay with width, not with truth."""
    limit = true_quantile(utilisation, 0.95, service)
    found = [
        search(seed, limit, start=0.05 + 0.01 * (seed % 9), samples=samples, service=service)
        for seed in range(100)
    ]

    assert sum(c.outcome == "found" and covers(c, utilisation) for c in found) >= 90


def exact(value):
    """A latency known to 2 %."""
    return Interval(value, value * 0.98, value * 1.02, 1e4, 24, None, enough=True)


def drive(plan, latency, saturation):
    """A server without noise; beyond `saturation` it collapses."""
    while (rate := plan.next_rate()) is not None:
        if rate > saturation:
            plan.tell(rate, 0.8 * saturation, Interval(None), failed_share=0.3)
        else:
            plan.tell(rate, rate, exact(latency(rate)))
    return plan.result()


@settings(max_examples=40, deadline=None)
@given(st.floats(5, 5_000), st.floats(1, 50))
def test_a_cliff_is_found_between_what_held_and_what_fell(edge, start):
    """Latency flat up to the edge: no line to fit, the bracket is the answer."""
    plan = CapacitySearch(300, min(start, edge), probes=30)
    found = drive(plan, lambda rate: 10.0 + rate * 1e-9, edge)

    assert found.outcome == "found"
    assert covers(found, edge)
    assert (found.rate.high - found.rate.low) / 2 / found.rate.value <= 0.03
    assert max(probe.rate for probe in plan.tried) <= 2 * edge


@settings(max_examples=40, deadline=None)
@given(st.floats(0.5, 4_000), st.floats(1, 2_000))
def test_whatever_the_start_it_comes_to_the_crossing(mu, start):
    """M/M/1 without noise that collapses at 98 %; p95 <= 300 ms, started below or far above the capacity."""
    truth = min(mu - 2.9957 / 0.3, 0.98 * mu)
    plan = CapacitySearch(300, start, most=1e5)
    found = drive(plan, lambda rate: 2_995.7 / (mu - rate), mu * 0.98)

    if truth < start / 256:
        assert found.outcome == "never_held"
    elif truth > start / 100:
        assert found.outcome == "found"
        assert found.rate.value == pytest.approx(truth, rel=0.05)
        assert 0.97 * found.rate.low <= truth <= 1.03 * found.rate.high


def test_a_server_that_never_holds_is_said_so_plainly():
    """500 ms at any rate against a limit of 300."""
    plan = CapacitySearch(300, 100, least=10)
    found = drive(plan, lambda rate: 500.0, 1e9)

    assert found.outcome == "never_held"
    assert found.rate.value is None
    assert found.rate.reason == "did not hold at 10/s, the lowest rate tried"


def test_a_server_that_never_breaks_is_said_so_plainly():
    """10 ms at any rate the generator may ask."""
    plan = CapacitySearch(300, 100, most=1_500)
    found = drive(plan, lambda rate: 10.0, 1e9)

    assert found.outcome == "never_broke"
    assert found.rate.low == 1_500
    assert found.rate.reason == "held up to 1500/s, the highest rate tried"
    assert [probe.rate for probe in plan.tried] == [100, 200, 400, 800, 1_500]


@pytest.mark.parametrize(
    ("done", "failed", "value", "rising"),
    [(97, 0.0, 10, False), (100, 0.02, 10, False), (100, 0.0, None, False), (100, 0.0, 700, True)],
    ids=["falls behind", "fails", "no answer", "queue grows"],
)
def test_a_collapse_is_no_latency(done, failed, value, rising):
    """Whatever its shape, it stops the growth, and its latency enters no fit."""
    plan = CapacitySearch(300, 100)
    plan.tell(100, done, exact(value) if value else Interval(None), failed, rising=rising)

    assert not plan.tried[-1].sustained
    assert plan.next_rate() < 100


def test_offered_by_chance_less_than_asked_is_no_failure():
    """A Poisson probe that happened to offer 96 of 100 and answered them all."""
    plan = CapacitySearch(300, 100)
    plan.tell(100, 96, exact(10), offered_per_s=96)

    assert plan.tried[-1].held


def test_a_probe_without_an_interval_asks_for_longer_ones():
    """The session can double the time of the next."""
    plan = CapacitySearch(300, 100)
    plan.tell(100, 100, Interval(250.0, reason="9 independent samples, p95 needs 200"))

    assert plan.short


def test_nothing_tried_nothing_known():
    """The first rate is the start."""
    plan = CapacitySearch(300, 100)

    assert plan.result().outcome == "unknown"
    assert plan.next_rate() == 100


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"limit": 0, "start": 1}, "limit"),
        ({"limit": 1, "start": 0}, "start"),
        ({"limit": 1, "start": 10, "most": 5}, "start"),
        ({"limit": 1, "start": 10, "resolution": 0}, "resolution"),
    ],
)
def test_wrong_options_are_refused(options, param):
    """With the way out."""
    with pytest.raises(ConfigError) as refused:
        CapacitySearch(**options)

    assert refused.value.param == param
