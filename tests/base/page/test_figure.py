"""A chart is drawn once for each width, and left out where it is empty."""

from __future__ import annotations

import re

from paceline.base.page.figure import HALF, WIDE, figure


def test_each_width_has_its_drawing_and_the_style_sheet_chooses():
    drawn = figure("Latency", "What <you> see", lambda width: f"<svg>{width}</svg>", WIDE)

    assert ["full", "wide", "slim"] == re.findall(r'class="draw (\w+)"', drawn)
    assert [*map(str, WIDE)] == re.findall(r"<svg>(\d+)</svg>", drawn)
    assert "What &lt;you&gt; see" in drawn


def test_an_empty_chart_is_no_figure():
    assert "" == figure("Latency", "", lambda width: "", HALF)
