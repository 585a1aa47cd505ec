"""Every chart is well-formed at every width, inside its edges, and puts its points where the scale says."""

from __future__ import annotations

import re
from itertools import combinations
from xml.etree import ElementTree as ET

import msgspec
import pytest
from reports import capacity, endurance, met, missed, sample, slo_rows, streaming, valid

from paceline.measure.render.chart.against_load import LoadCurve, LoadPoint, against_load
from paceline.measure.render.chart.bullet import WIDTH, bullet
from paceline.measure.render.chart.distribution import edges, histogram
from paceline.measure.render.chart.nines import cumulative, nines
from paceline.measure.render.chart.over_time import over_time
from paceline.measure.render.chart.trace_line import Trace, trace_line
from paceline.measure.report import Estimate

CURVE = LoadCurve(
    [
        LoadPoint(100, 120.0, 110, 130, held=True),
        LoadPoint(400, 290.0, 280, 310, held=True),
        LoadPoint(450, 900.0, held=False),
    ],
    "p95",
    "req/s",
    Estimate(412, 398, 425),
    300.0,
)


def _over_time(report, width):
    return over_time(report.series, width, warmup_s=report.warmup_s, stages=report.stages)


DRAWN = {
    "over_time": lambda width: _over_time(valid(), width),
    "over_time of an hour": lambda width: _over_time(endurance(), width),
    "histogram": lambda width: histogram(valid().latency_ms, width),
    "histogram with a far p99": lambda width: histogram(missed().latency_ms, width),
    "nines": lambda width: nines(valid().latency_ms, width, valid().service_ms),
    "nines with a far p99": lambda width: nines(missed().latency_ms, width),
    "nines of seconds": lambda width: nines(streaming().latency_ms, width),
    "against_load": lambda width: against_load(CURVE, width),
    "trace": lambda width: trace_line(Trace("MB", [0.0, 9.0], [1.0, 2.0], slope_per_s=0.1), width),
}


@pytest.mark.parametrize("width", [350, 514, 1060])
@pytest.mark.parametrize("name", DRAWN)
def test_a_chart_is_well_formed_and_inside_its_edges(name, width):
    read = ET.fromstring(DRAWN[name](width))
    height = float(read.attrib["height"])
    xs = [
        float(each.attrib[key])
        for each in read.iter()
        for key in ("x", "x1", "x2", "cx")
        if key in each.attrib
    ]
    ys = [
        float(each.attrib[key])
        for each in read.iter()
        for key in ("y", "y1", "y2", "cy")
        if key in each.attrib
    ]

    assert "img" == read.attrib["role"]
    assert read.attrib["aria-label"]
    assert 0 <= min(xs)
    assert max(xs) <= width
    assert 0 <= min(ys)
    assert max(ys) <= height


@pytest.mark.parametrize("width", [350, 514, 1060])
@pytest.mark.parametrize("name", DRAWN)
def test_labels_do_not_overlap(name, width):
    boxes = []
    for text in ET.fromstring(DRAWN[name](width)).iter("text"):
        size = len(text.text or "") * 6.0
        x, y = float(text.attrib["x"]), float(text.attrib["y"])
        left = {"start": x, "middle": x - size / 2, "end": x - size}[text.attrib["text-anchor"]]
        boxes.append((left, left + size, y, text.text))
    touching = [
        (one[3], other[3])
        for one, other in combinations(boxes, 2)
        if abs(one[2] - other[2]) < 10 and one[0] < other[1] and other[0] < one[1]
    ]

    assert [] == touching


def test_the_line_of_p95_goes_through_its_values():
    series = valid().series
    read = ET.fromstring(_over_time(valid(), 1060))
    line = next(path for path in read.iter("path") if path.attrib["class"] == "line p95")
    points = [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+),([\d.]+)", line.attrib["d"])]
    labels = {
        float(text.text.replace(",", "")): float(text.attrib["y"]) - 4
        for text in list(read.iter("text"))
        if text.attrib["text-anchor"] == "end" and re.fullmatch(r"[\d,]+", text.text or "")
    }
    by_y = sorted(labels.items())[-2:]
    (low, low_y), (high, high_y) = by_y

    assert len(series.p95_ms) == len(points)
    for (x, y), at, value in zip(points, series.at_s, series.p95_ms, strict=True):
        assert value == pytest.approx(low + (y - low_y) / (high_y - low_y) * (high - low), abs=2)
        left, right = float(read.attrib["data-left"]), float(read.attrib["data-right"])
        assert at + 0.5 == pytest.approx((x - left) / (right - left) * 180, abs=0.05)


def test_bins_begin_at_the_smallest_latency_and_hold_every_answer():
    told = valid().latency_ms
    bins = edges(told)

    assert told.count == sum(count for _, _, count in bins)
    assert told.min == pytest.approx(bins[0][0])
    assert all(low < high for low, high, _ in bins)


def test_the_percentile_curve_agrees_with_the_percentiles():
    told = valid().latency_ms
    curve = cumulative(told)

    for name, share in (("p50", 0.5), ("p99", 0.99)):
        above = next(latency for reached, latency in curve if reached >= share)
        assert told.quantiles[name].value == pytest.approx(above, rel=0.1)
    assert (1.0, told.max) == curve[-1]


def test_a_rate_that_did_not_hold_is_a_cross_and_the_capacity_is_named():
    drawn = against_load(CURVE, 1060)

    assert 2 == drawn.count('class="dot"')
    assert 1 == drawn.count('class="cross"')
    assert "capacity 412 req/s [398, 425]" in drawn
    assert "objective 300 ms" in drawn


def test_the_capacity_of_a_search_is_on_its_chart():
    found = capacity().capacity
    assert found is not None
    points = [LoadPoint(probe.rate_per_s, probe.value or 0.0, held=probe.held) for probe in found.probes]
    read = ET.fromstring(against_load(LoadCurve(points, "p95", "req/s", found.rate_per_s), 1060))
    mark = next(line for line in read.iter("line") if line.attrib["class"] == "mark capacity")
    dots = [float(dot.attrib["cx"]) for dot in read.iter("circle")]

    assert max(dots) < float(mark.attrib["x1"])


def test_an_extreme_turns_the_axis_logarithmic():
    series = valid().series
    peaks = [*series.p99_ms]
    peaks[90] = 60_000.0

    assert "log scale" not in _over_time(valid(), 1060)
    assert "log scale" in _over_time(sample(series=msgspec.structs.replace(series, p99_ms=peaks)), 1060)


def test_nothing_is_drawn_of_nothing():
    empty = msgspec.structs.replace(valid().latency_ms, histogram=[])

    assert "" == histogram(empty, 514)
    assert "" == nines(empty, 514)
    assert "" == trace_line(Trace("MB", [0.0], [None]), 514)


def test_a_bullet_puts_the_value_between_its_levels():
    row = met().slo[0]
    read = ET.fromstring(bullet(msgspec.structs.replace(row, value=450.0)))
    target, critical = (
        float(line.attrib["x1"]) for line in read.iter("line") if line.attrib["class"].startswith("bullet-")
    )
    diamond = float(re.match(r"M([\d.]+)", next(read.iter("path")).attrib["d"])[1])

    assert (target + critical) / 2 == pytest.approx(diamond, abs=0.1)


def test_a_bullet_without_a_value_shows_its_levels_only():
    drawn = bullet(slo_rows({})[0])

    assert "not measured" in drawn
    assert "<path" not in drawn


def test_a_value_far_beyond_stays_at_the_edge():
    row = msgspec.structs.replace(met().slo[0], value=1e9)

    assert float(re.search(r'd="M([\d.]+)', bullet(row))[1]) <= WIDTH - 6
