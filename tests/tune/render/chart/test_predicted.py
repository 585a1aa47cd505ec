"""Predicted against measured: on the diagonal the simulator was right."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from paceline.tune.render.chart.predicted import Pair, against_measured


def dots(pairs):
    root = ET.fromstring(against_measured(pairs, 514))
    return [(float(dot.get("cx")), float(dot.get("cy")), dot.get("class")) for dot in root.iter("circle")]


@pytest.mark.parametrize("largest", [80.0, 4_000.0])
def test_a_right_prediction_is_on_the_diagonal(largest):
    pairs = [Pair(10.0, 10.0, "a"), Pair(largest, largest, "b")]
    root = ET.fromstring(against_measured(pairs, 514))
    diagonal = next(each for each in root.iter("line") if each.get("class") == "diagonal")
    x1, y1, x2, y2 = (float(diagonal.get(name)) for name in ("x1", "y1", "x2", "y2"))

    for at, height, _ in dots(pairs):
        assert height == pytest.approx(y1 + (at - x1) / (x2 - x1) * (y2 - y1), abs=0.2)


def test_runs_that_the_simulator_was_fitted_to_are_told_apart():
    kinds = [kind for *_, kind in dots([Pair(10.0, 11.0, "a"), Pair(20.0, 19.0, "b", unseen=False)])]

    assert ["spot candidate", "spot trial"] == kinds


def test_an_interval_is_a_whisker_that_stays_in_the_chart():
    root = ET.fromstring(against_measured([Pair(10.0, 11.0, "a", 8.0, 900.0)], 514))
    whisker = next(each for each in root.iter("line") if each.get("class") == "whisker")

    assert float(whisker.get("x2")) <= 514


def test_without_runs_there_is_no_chart():
    assert "" == against_measured([], 514)
