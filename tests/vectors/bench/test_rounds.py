"""Turns of all contestants."""

from paceline.vectors.bench.measure_search import Pass
from paceline.vectors.bench.rounds import in_turns


def test_all_take_turns_in_both_orders_and_the_first_round_is_left_out():
    asked = []

    def search(name, effort):
        asked.append((name, effort))
        slow = 8.0 if len(asked) <= 2 else 1.0 + len(asked) / 10
        return Pass(0.99, slow, [1.0] * 8)

    held = in_turns(0.99, {"a": 20, "b": 30}, search, 2)

    assert asked == [("a", 20), ("b", 30), ("b", 30), ("a", 20), ("a", 20), ("b", 30)]
    assert (held["a"].effort, held["a"].rounds, held["a"].target) == (20, 2, 0.99)
    assert held["a"].qps_low <= held["a"].qps <= held["a"].qps_high
    assert held["a"].qps_low > 1.0  # which the first round was
