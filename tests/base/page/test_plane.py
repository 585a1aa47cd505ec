"""Labels keep their distance, and axes speak in fitting units."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.page.plane import Plane, latency_unit, spread, tick_words
from paceline.base.page.scale import Linear


@given(st.lists(st.floats(0, 200), min_size=1, max_size=8))
def test_spread_labels_do_not_touch(wished):
    placed = sorted(spread(wished, 14, 0, 200))

    assert all(right - left >= 14 - 1e-9 for left, right in pairwise(placed))
    assert 0 <= placed[0]
    assert placed[-1] <= 200


def test_labels_with_room_stay_where_they_were():
    assert [10, 100, 50] == spread([10, 100, 50], 14, 0, 200)


def test_labels_that_would_touch_are_left_out():
    drawn = Plane(0, 0, 100, 50).x_axis([(0, "1000"), (10, "2000"), (90, "3000")], "")

    assert ["1000", "3000"] == re.findall(r">(\d+)</text>", drawn)


@pytest.mark.parametrize(
    ("seconds", "unit", "last"), [(60, "s", "60"), (900, "min", "14"), (36_000, "h", "10")]
)
def test_time_is_told_in_a_unit_that_fits(seconds, unit, last):
    plane = Plane(0, 0, 600, 50)
    read = ET.fromstring(f"<g>{plane.time_axis(Linear(0, seconds, 0, 600))}</g>")
    words = [text.text for text in read.iter("text")]

    assert f"time since the start, {unit}" == words[-1]
    assert last == words[-2]


def test_latency_axes_have_three_units():
    assert [(0.001, "µs"), (1.0, "ms"), (1000.0, "s")] == [
        latency_unit(value) for value in (0.5, 300, 20_000)
    ]


def test_ticks_have_no_digits_too_many():
    assert ["0.3", "1,500", "250k"] == [tick_words(value) for value in (0.1 + 0.2, 1500, 250_000)]
