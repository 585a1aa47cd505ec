"""The change after each block, with its interval, zero and the margin."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from paceline.tune.render.chart.ab_blocks import ab_blocks

LOOKS = [[-0.5, None, None], [-0.3, -9.0, 8.4], [-0.28, -0.4, -0.16], [-0.28, -0.33, -0.22]]


def test_every_block_has_a_dot_that_says_its_interval():
    root = ET.fromstring(ab_blocks(LOOKS, 0.03, 514))

    assert ["after block 1: -50 %", "after block 4: -28 % [-33, -22]"] == [
        list(root.iter("circle"))[index][0].text for index in (0, -1)
    ]


def test_the_wide_intervals_of_the_first_blocks_are_cut_at_the_edge():
    root = ET.fromstring(ab_blocks(LOOKS, 0.03, 514))
    band = next(each for each in root.iter("path") if each.get("class") == "band change")
    heights = [float(point.split(",")[1]) for point in band.get("d").strip("MZ").split("L")]

    assert 28 <= min(heights)
    assert max(heights) <= 290


def test_a_single_interval_is_a_line_from_end_to_end():
    """A test that ends at the first block that bounds the change has no band."""
    paths = [
        each.get("d")
        for each in ET.fromstring(ab_blocks(LOOKS[:2], 0.03, 514)).iter("path")
        if each.get("class") == "line change"
    ]

    upright = paths[0].strip("M").split("L")
    assert len({point.split(",")[0] for point in upright}) == 1
    assert len({point.split(",")[1] for point in upright}) == 2


@pytest.mark.parametrize(("margin", "shown"), [(0.03, True), (None, False)])
def test_the_margin_is_drawn_where_there_is_one(margin, shown):
    drawn = ab_blocks(LOOKS, margin, 514)

    assert shown == ("within 3 % it does not matter" in drawn)
    assert 'class="zero"' in drawn


def test_many_blocks_have_few_labels():
    root = ET.fromstring(ab_blocks([[-0.1, -0.2, 0.0]] * 60, 0.03, 350))
    labels = [
        text.text
        for text in root.iter("text")
        if (text.text or "").isdigit() and text.get("text-anchor") == "middle"
    ]

    assert "1" == labels[0]
    assert len(labels) <= 9


def test_nothing_known_is_no_chart():
    assert "" == ab_blocks([], 0.03, 514)
    assert "" == ab_blocks([[None, None, None]], 0.03, 514)
