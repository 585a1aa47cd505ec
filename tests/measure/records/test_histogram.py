"""The histogram beside a sorted list of the same values."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.measure.records.histogram import Histogram, bucket, lower, middle

ERROR = 0.0005
values = st.lists(st.integers(0, 10**13) | st.integers(0, 5_000), min_size=1, max_size=200)


def histogram(ns):
    made = Histogram()
    for value in ns:
        made.record(value)
    return made


@given(st.integers(0, 2**62))
def test_a_bucket_stands_for_its_values_within_the_error(ns):
    assert abs(middle(bucket(ns)) - ns) <= ERROR * ns


@given(st.integers(0, 2**62))
def test_a_value_lies_in_its_bucket(ns):
    number = bucket(ns)

    assert lower(number) <= ns < lower(number + 1)


@given(st.integers(0, 60_000))
def test_buckets_have_no_gap(number):
    assert bucket(lower(number)) == number == bucket(lower(number + 1) - 1)


@pytest.mark.parametrize(
    ("ns", "number"), [(-7, 0), (0, 0), (2047, 2047), (2048, 2048), (2049, 2048), (4095, 3071), (4096, 3072)]
)
def test_buckets_as_drawn(ns, number):
    assert bucket(ns) == number


@given(st.integers(-10, 2**62))
def test_recording_takes_the_same_bucket(ns):
    assert histogram([ns]).counts == {bucket(ns): 1}


@given(values, st.sampled_from([0.0, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0]))
def test_quantiles_are_those_of_the_values_within_the_error(ns, q):
    exact = float(np.quantile(np.array(ns, dtype=np.float64), q))

    assert histogram(ns).quantile(q) == pytest.approx(exact, rel=ERROR, abs=1e-6)


@given(values)
def test_the_mean_is_that_of_the_values_within_the_error(ns):
    assert histogram(ns).mean() == pytest.approx(sum(ns) / len(ns), rel=ERROR)


@given(values, values)
def test_merged_histograms_are_the_histogram_of_all(first, second):
    merged = histogram(first)
    merged.add(histogram(second).counts)

    assert merged.counts == histogram(first + second).counts
    assert merged.count == len(first) + len(second)


@given(values)
def test_counts_survive_json_and_msgpack(ns):
    counts = histogram(ns).counts

    assert msgspec.json.decode(msgspec.json.encode(counts), type=dict[int, int]) == counts
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(counts), type=dict[int, int]) == counts


def test_a_histogram_made_of_counts_does_not_change_them():
    counts = {5: 1}
    Histogram(counts).record(5)

    assert counts == {5: 1}


def test_nothing_has_no_quantile_and_no_mean():
    with pytest.raises(ValueError, match="without values"):
        Histogram().quantile(0.5)
    with pytest.raises(ValueError, match="without values"):
        Histogram().mean()
