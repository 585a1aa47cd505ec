"""Turns of all contestants."""

import pytest

from paceline.vectors.bench.measure_search import Pass
from paceline.vectors.bench.rounds import in_turns


def test_all_take_turns_in_both_orders_and_the_first_round_is_left_out():
    asked = []

    def search(name, effort):
        asked.append((name, effort))
        slow = 8.0 if len(asked) <= 2 else 1.0 + len(asked) / 10
        return Pass(0.99, 8, slow, [1.0] * 8)

    held = in_turns(0.99, {"a": 20, "b": 30}, search, 2, 8)

    assert asked == [("a", 20), ("b", 30), ("b", 30), ("a", 20), ("a", 20), ("b", 30)]
    assert (held["a"].effort, held["a"].rounds, held["a"].target) == (20, 2, 0.99)
    assert held["a"].qps_low <= held["a"].qps <= held["a"].qps_high
    assert held["a"].qps_low > 1.0  # which the first round was
    assert (held["a"].queries, held["a"].single_queries) == (None, None)


def test_a_figure_tells_the_round_with_the_fewest_queries_and_a_rate_is_of_those_it_did():
    passes = iter(
        [Pass(0.99, 500, 1.0, [1.0] * 9), *(Pass(0.99, n, n / 100, [5.0] * (n // 10)) for n in (80, 60))]
    )

    held = in_turns(0.99, {"slow": 20}, lambda *_: next(passes), 2, 1_000)["slow"]

    assert held.qps == pytest.approx(100.0)
    assert (held.queries, held.single_queries) == (60, 6)
