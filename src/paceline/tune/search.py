"""Which settings are worth a live run: the space searched by simulation, averaged over what is not known.

A small space is simulated whole. A larger one is searched group by group (the batch, the gate, the cache), each
whole with the best of the others, until nothing changes; within a group successive halving over the length of the
trace (Jamieson and Talwalkar 2016) spends the time on those that may still win.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from paceline.tune.goal import Goal
from paceline.tune.setting import Setting, key
from paceline.tune.simulator import SATURATED, Expected, Simulator
from paceline.tune.space import Space

WHOLE: Final = 4_096
"""Settings that are simulated one and all."""
HALVING: Final = ((0.25, 2, 3), (0.5, 4, 3))
"""Share of the trace, particles, and the part (one in so many) that goes on to the next rung."""
LEAST_LEFT: Final = 640
"""Settings up to which halving is not worth its error: the compiled simulator does them in two seconds."""
ROUNDS: Final = 3
MOST_SPEED: Final = 16.0
SPEED_STEP: Final = 1.05
SAME: Final = 0.01
"""Relative difference of scores below which the setting that changes less is preferred."""


class Search:
    """Expected results of every setting that reached the last rung, best first."""

    def __init__(self, simulator: Simulator, space: Space, goal: Goal) -> None:
        self._simulator = simulator
        self._space = space
        self._goal = goal
        self._known: dict[object, Expected] = {}
        self._speed = 1.0

    def most_speed(self) -> float:
        """How much faster than recorded the trace can be replayed with the best setting still holding the objectives.

        To a twentieth, by bisection over every setting on part of the trace; at least 1.
        """
        settings = (
            list(self._space.settings()) if (self._space.size or WHOLE + 1) <= WHOLE else self._by_group()
        )
        low, high = 1.0, MOST_SPEED
        while high / low > SPEED_STEP:
            middle = (low * high) ** 0.5
            seen = self._simulator.expect(settings, self._goal, particles=2, speed=middle, share=0.5)
            low, high = (middle, high) if any(one.violation == 0.0 for one in seen) else (low, middle)
        return low

    def _by_group(self) -> list[Setting]:
        return [setting for group in self._space.groups for setting in self._space.settings(group)]

    def run(self, speed: float = 1.0) -> list[Expected]:
        """Search, with the trace at `speed`; the baseline is always among the results."""
        self._speed = speed
        self._whole([{}])
        if (self._space.size or WHOLE + 1) <= WHOLE:
            self._halved(list(self._space.settings()))
            return self.ranked()
        best: Setting = {}
        for _ in range(ROUNDS):
            before = best
            for group in self._space.groups:
                self._halved(list(self._space.settings(group, best)))
                best = self.ranked()[0].setting
            if key(best) == key(before):
                break
        return self.ranked()

    def ranked(self) -> list[Expected]:
        """Those that hold the objectives by their score, then the others by how far they are off."""
        return sorted(self._known.values(), key=self._rank)

    def candidates(self, count: int) -> list[Setting]:
        """The best few that differ in what they do, each with as few changes as it needs; never the baseline.

        Settings whose every simulated figure agrees are one candidate.
        """
        chosen: list[Expected] = []
        baseline = self._known[key({})]
        ranked = self.ranked()
        used = self._simulator.utilisation([one.setting for one in ranked[: 8 * count]], speed=self._speed)
        open_ones = [one for one, share in zip(ranked, used, strict=False) if share < SATURATED] or ranked
        for one in open_ones:
            if any(_alike(one, other) for other in [*chosen, baseline]):
                continue
            alike = [other for other in ranked if _alike(one, other)]
            chosen.append(min(alike, key=lambda other: (len(other.setting), self._rank(other))))
            if len(chosen) == count:
                break
        return [one.setting for one in chosen]

    def _rank(self, one: Expected) -> tuple[float, float, int]:
        return (one.violation, one.score, len(one.setting))

    def _halved(self, settings: Sequence[Setting]) -> None:
        left = [setting for setting in settings if key(setting) not in self._known]
        for share, particles, part in HALVING:
            if len(left) <= LEAST_LEFT:
                break
            seen = self._simulator.expect(
                left, self._goal, particles=particles, speed=self._speed, share=share
            )
            keep = max(LEAST_LEFT, len(left) // part)
            left = [one.setting for one in sorted(seen, key=self._rank)[:keep]]
        self._whole(left)

    def _whole(self, settings: Iterable[Setting]) -> None:
        """On the whole trace with every particle."""
        new = [setting for setting in settings if key(setting) not in self._known]
        if new:
            self._known.update(
                (key(one.setting), one) for one in self._simulator.expect(new, self._goal, speed=self._speed)
            )


def _alike(one: Expected, other: Expected) -> bool:
    """Whether two settings do the same as far as the simulation can tell."""
    return (
        all(
            abs(value - other.values[name]) <= SAME * max(abs(value), 1e-9)
            for name, value in one.values.items()
        )
        and abs(one.engine_ms - other.engine_ms) <= SAME * one.engine_ms
    )
