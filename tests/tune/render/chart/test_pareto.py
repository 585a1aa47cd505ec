"""Latency against cost: the front, and a mark for whatever was simulated."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from paceline.tune.render.chart.pareto import MOST_MARKS, Spot, front, pareto

spots = st.builds(
    Spot,
    cost_ms=st.floats(0.1, 100),
    p95_ms=st.floats(1, 10_000) | st.none(),
    words=st.just("x=1"),
    meets=st.booleans(),
    kind=st.sampled_from(["plain", "candidate", "baseline", "winner"]),
)


def marks(drawn: str, kind: str) -> list[ET.Element]:
    return [
        each
        for each in ET.fromstring(drawn).iter()
        if kind in (each.get("class") or "").split() and len(each) == 1
    ]


@given(st.lists(spots, max_size=30))
def test_nothing_beats_the_front_and_the_front_beats_all_else(some):
    kept = front(some)
    known = [spot for spot in some if spot.p95_ms is not None]

    assert bool(kept) == bool(known)
    for spot in known:
        assert any(best.cost_ms <= spot.cost_ms and best.p95_ms <= spot.p95_ms for best in kept)
    for best in kept:
        assert not [spot for spot in known if spot.cost_ms < best.cost_ms and spot.p95_ms < best.p95_ms]


@given(st.lists(spots, min_size=1, max_size=30))
def test_whatever_was_simulated_is_drawn_inside_the_picture(some):
    drawn = pareto(some, 40.0, 350)
    if not drawn:
        assert all(spot.p95_ms is None for spot in some)
        return
    root = ET.fromstring(drawn)
    _, _, width, height = map(float, root.get("viewBox").split())

    for circle in root.iter("circle"):
        assert 0 <= float(circle.get("cx")) <= width
        assert 0 <= float(circle.get("cy")) <= height


def test_the_winner_and_the_baseline_are_named_and_keep_their_distance():
    near = [
        Spot(2.0, 20.0, "a=1", kind="winner"),
        Spot(2.0, 20.1, "baseline", kind="baseline"),
        Spot(9, 90, "b=1"),
    ]
    root = ET.fromstring(pareto(near, None, 700))
    heights = {text.text: float(text.get("y")) for text in root.iter("text") if "halo" in text.get("class")}

    assert {"winner", "baseline"} == set(heights)
    assert abs(heights["winner"] - heights["baseline"]) >= 15


def test_saturated_settings_stand_apart_and_have_no_latency():
    drawn = pareto([Spot(2.0, 20.0, "a=1"), Spot(3.0, None, "b=1: p95 saturated")], 25.0, 700)

    assert ["b=1: p95 saturated"] == [mark[0].text for mark in marks(drawn, "full")]
    assert "1 saturated" in drawn


def test_thousands_of_settings_share_marks_that_say_how_many_they_are():
    many = [Spot(1 + index % 97 * 0.1, 10 + index % 89, f"n={index}") for index in range(8_000)]
    drawn = marks(pareto(many, None, 1060), "spot")

    assert len(drawn) <= MOST_MARKS
    assert any("beside it)" in mark[0].text for mark in drawn)


def test_the_target_is_a_line_where_it_is_in_reach():
    some = [Spot(1.0, 10.0, "a=1"), Spot(2.0, 30.0, "b=1")]

    assert "target 40 ms" in pareto(some, 40.0, 700)
    assert "target" not in pareto(some, 4_000.0, 700)
