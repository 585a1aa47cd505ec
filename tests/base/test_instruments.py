"""Counters, gauges and histograms, their snapshots and sums."""

from __future__ import annotations

import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.instruments import Histogram, Registry, bucket_floor, merge, quantile


class Hands:
    """A clock moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def one(snapshot, name, **labels):
    return next(series for series in snapshot if series["name"] == name and series["labels"] == labels)


@given(st.integers(min_value=0, max_value=2**45))
def test_a_value_counts_in_the_bucket_whose_floor_and_ceiling_hold_it(n):
    histogram = Histogram(unit=1)

    histogram.record(n)

    (bucket,) = histogram.counts
    assert bucket_floor(bucket) <= n < bucket_floor(bucket + 1)


@given(st.integers(min_value=0, max_value=1300))
def test_buckets_are_at_most_three_percent_wide(bucket):
    floor = bucket_floor(bucket)

    width = bucket_floor(bucket + 1) - floor

    assert width == 1 or width / floor <= 1 / 32


@given(
    st.lists(st.floats(min_value=1e-5, max_value=1000), min_size=1), st.sampled_from([0.0, 0.5, 0.95, 1.0])
)
def test_quantiles_are_those_of_the_sorted_values_within_a_bucket(values, q):
    histogram = Histogram()
    for value in values:
        histogram.record(value)

    exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]

    assert math.isclose(quantile(histogram.counts, q, 1e-6), exact, rel_tol=0.033, abs_tol=1e-6)


def test_no_values_have_no_quantile():
    assert math.isnan(quantile({}, 0.5, 1e-6))


def test_a_histogram_knows_count_and_sum():
    histogram = Histogram()
    for value in (0.001, 0.002, 0.003):
        histogram.record(value)

    assert (histogram.count, round(histogram.sum, 6)) == (3, 0.006)


def test_a_snapshot_survives_msgpack():
    registry = Registry()
    registry.counter("paceline_a_total", "A.", route="/x").add(2)
    registry.gauge("paceline_b", "B.", read=lambda: 7.0)
    registry.histogram("paceline_c_seconds", "C.").record(0.5)

    snapshot = registry.snapshot()

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(snapshot)) == snapshot


def test_rates_and_recent_counts_are_of_the_window_only():
    clock = Hands()
    registry = Registry(window_s=60, clock=clock)
    counter = registry.counter("paceline_a_total", "A.")
    histogram = registry.histogram("paceline_c_seconds", "C.")
    counter.add(1000)
    histogram.record(9.0)
    for _ in range(20):
        clock.now += 5
        registry.mark()
    clock.now += 5
    counter.add(130)
    histogram.record(0.5)

    snapshot = registry.snapshot()

    assert one(snapshot, "paceline_a_total")["value"] == 1130
    assert one(snapshot, "paceline_a_total")["rate"] == 2.0  # 130 in 65 s: the mark before the window's start
    assert sum(one(snapshot, "paceline_c_seconds")["counts"].values()) == 2
    assert quantile(one(snapshot, "paceline_c_seconds")["recent"], 1.0, 1e-6) < 0.6


def test_an_instrument_made_after_the_mark_counts_whole():
    clock = Hands()
    registry = Registry(clock=clock)
    registry.mark()
    registry.counter("paceline_late_total", "Late.").add(10)
    clock.now += 10

    assert one(registry.snapshot(), "paceline_late_total")["rate"] == 1.0


def test_merging_adds_counters_and_histograms_and_merges_gauges_as_they_say():
    def process(count, seconds, up):
        registry = Registry()
        registry.counter("paceline_a_total", "A.", route="/x").add(count)
        registry.histogram("paceline_c_seconds", "C.").record(seconds)
        registry.gauge("paceline_depth", "Depth.").set(count)
        registry.gauge("paceline_up_seconds", "Up.", merge="max").set(up)
        return registry.snapshot()

    merged = merge([process(2, 0.001, 50), process(3, 0.002, 70)])

    assert one(merged, "paceline_a_total", route="/x")["value"] == 5
    assert sum(one(merged, "paceline_c_seconds")["counts"].values()) == 2
    assert one(merged, "paceline_c_seconds")["sum"] == 0.003
    assert one(merged, "paceline_depth")["value"] == 5
    assert one(merged, "paceline_up_seconds")["value"] == 70


def test_merging_keeps_series_apart_by_labels_and_leaves_the_snapshots_as_they_were():
    registry = Registry()
    registry.counter("paceline_a_total", "A.", route="/x").add(1)
    registry.counter("paceline_a_total", "A.", route="/y").add(2)
    snapshot = registry.snapshot()

    merged = merge([snapshot, snapshot])

    assert [series["value"] for series in merged] == [2, 4]
    assert [series["value"] for series in snapshot] == [1, 2]


def test_sources_add_their_series():
    registry = Registry()
    told = {"kind": "gauge", "name": "paceline_x", "help": "X.", "labels": {}, "value": 1.0, "merge": "sum"}
    registry.source(lambda: [told])

    assert registry.snapshot() == [told]
