"""Turning the winner on in steps, with guard rails: two bad windows in a row, and everything goes back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Final

from paceline.base.errors import TrialFailed
from paceline.tune.goal import Goal
from paceline.tune.journal import Journal, told
from paceline.tune.observation import Observation
from paceline.tune.report import Step
from paceline.tune.setting import Setting, label
from paceline.tune.simulator import Simulator

WINDOWS: Final = 2
"""Bad ones in a row that end it: one may be a neighbour's doing."""
ALLOWED: Final = 1.25
"""A window is bad when a missed objective, or the aim, is worse than the baseline's by this factor."""
MOST_KNOBS: Final = 5
"""Orders of more are not tried out one and all."""


def steps(winner: Setting, goal: Goal, simulator: Simulator | None) -> list[Setting]:
    """From the baseline to the winner a knob at a time, in the order whose worst stop is best in simulation."""
    names = sorted(winner)
    orders = (
        list(permutations(names))
        if simulator is not None and 1 < len(names) <= MOST_KNOBS
        else [tuple(names)]
    )
    if simulator is None or len(orders) == 1:
        return list(_stops(orders[0], winner))
    stops = {frozenset(stop): stop for order in orders for stop in _stops(order, winner)}
    worth = {
        name: (one.violation, one.values["p95_ms"])
        for name, one in zip(stops, simulator.expect(list(stops.values()), goal, particles=4), strict=True)
    }
    best = min(orders, key=lambda order: max(worth[frozenset(stop)] for stop in _stops(order, winner)))
    return list(_stops(best, winner))


def _stops(order: tuple[str, ...], winner: Setting) -> Iterator[Setting]:
    for count in range(1, len(order) + 1):
        yield {name: winner[name] for name in order[:count]}


class Rollout:
    """Applies a winner; `done` are the steps so far."""

    def __init__(self, journal: Journal, goal: Goal, baseline: Observation) -> None:
        self._journal = journal
        self._goal = goal
        self._violation = goal.violation(goal.measured(baseline))
        self._log_score = goal.log_score(baseline)
        self.done: list[Step] = []

    def run(self, path: list[Setting]) -> bool:
        """Whether every step held. The server is left on the last one tried, on trial."""
        return all(self._held(setting) for setting in path)

    def _held(self, setting: Setting) -> bool:
        for window in range(1, WINDOWS + 1):
            began = self._journal.elapsed_s
            try:
                seen = self._journal.live("apply", setting).observation
            except TrialFailed as failure:
                self._note(setting, began, {}, held=False, because=failure.message)
                return False
            bad = self._bad(seen)
            last = window == WINDOWS
            because = bad or "within the guard rails"
            if bad:
                because += "; rolled back" if last else "; one more window decides"
            self._note(setting, began, told(self._goal, seen), held=not bad, because=because)
            if not bad:
                return True
        return False

    def _bad(self, seen: Observation) -> str:
        values = self._goal.measured(seen)
        violation = self._goal.violation(values)
        if violation > max(self._violation * ALLOWED, self._violation + ALLOWED - 1.0):
            binding = self._goal.binding(values)
            return f"{binding.label if binding else 'the SLO'} is missed by {100 * violation:.0f} %"
        worse = self._goal.log_score(seen) - self._log_score
        if worse > ALLOWED - 1.0:
            return f"{self._goal.aim} is {100 * worse:.0f} % worse than the baseline's"
        return ""

    def _note(
        self, setting: Setting, began: float, values: dict[str, float], *, held: bool, because: str
    ) -> None:
        window_s = self._journal.elapsed_s - began
        self.done.append(
            Step(
                setting=dict(setting),
                window_s=window_s,
                values=values,
                held=held,
                because=f"{label(setting)}: {because}",
            )
        )
