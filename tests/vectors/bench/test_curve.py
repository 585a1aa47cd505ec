"""Which efs are tried."""

import pytest

from paceline.vectors.bench.curve import EFFORTS, curve, rising, smallest
from paceline.vectors.bench.measure_search import Pass
from paceline.vectors.bench.report import Point


class Searches:
    """Finds a share of the truth that depends on ef alone, and remembers what was asked."""

    def __init__(self, recall):
        self.recall, self.asked = recall, []

    def __call__(self, effort, singles):
        self.asked.append((effort, singles))
        return Pass(self.recall(effort), 3, 0.5, [1.0, 2.0, 3.0] if singles else [])


def test_the_curve_ends_where_all_is_found():
    search = Searches(lambda effort: min(1.0, effort / 64))

    points = curve(search, 10, 3)

    assert [point.effort for point in points] == [10, 16, 24, 32, 48, 64]
    assert all(singles for _, singles in search.asked)
    assert (points[0].qps, points[0].p50_ms) == (6.0, 2.0)
    assert (points[0].queries, points[0].single_queries) == (None, None)


def test_a_point_says_how_many_queries_it_rests_on_when_there_were_more():
    [point] = curve(lambda *_: Pass(1.0, 50, 0.5, [1.0] * 40), 10, 1_000, (10,))

    assert (point.qps, point.queries, point.single_queries) == (100.0, 50, 40)


def test_the_curve_ends_where_recall_rises_no_more():
    points = curve(Searches(lambda effort: min(0.95, effort / 100)), 10, 3)

    assert (points[-1].effort, max(point.recall for point in points)) == (512, 0.95)


def test_no_ef_below_k_is_tried():
    assert curve(Searches(lambda _: 1.0), 100, 3)[0].effort == 128


@pytest.mark.parametrize("least", [10, 11, 23, 100, 400])
def test_the_smallest_ef_is_found_between_two_points(least):
    search = Searches(lambda effort: 1.0 if effort >= least else 0.5 + effort / 1e4)
    points = curve(search, 10, 3)
    search.asked.clear()

    found = smallest(points, search, 0.99)

    assert least <= found <= least * 1.06 + 1
    assert not any(singles for _, singles in search.asked)


def test_a_recall_that_no_ef_reaches_has_none():
    search = Searches(lambda _: 0.9)

    assert smallest(curve(search, 10, 3, EFFORTS[:3]), search, 0.99) is None


def test_points_that_cost_more_for_no_more_are_left_out():
    points = [
        Point(ef, recall, 1.0, 1.0, 1.0) for ef, recall in ((10, 0.9), (20, 0.9), (30, 0.95), (40, 0.94))
    ]

    assert [point.effort for point in rising(points)] == [10, 30]
