"""Scales: from a value to a pixel, with ticks at round values. `start` and `end` are the pixels of `low` and `high`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)
_LOG_STEPS = ((1, 2, 5), (1, 3), (1,))
_DENSE_LOG_STEPS = (1, 1.5, 2, 3, 4, 5, 6, 8)


@dataclass(frozen=True, slots=True)
class Linear:
    """Equal differences are equally long."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Pixel of a value; values outside are put outside."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """At most `most` + 1 multiples of 1, 2, 2.5 or 5 times a power of ten."""
        step = nice_step((self.high - self.low) / most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(index * step, 12) for index in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Log:
    """Equal ratios are equally long; both ends are above zero."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Pixel of a value; what is not above zero is put at the low end."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 7) -> list[float]:
        """1, 2 and 5 in every decade; fewer where there are many decades, more within one."""
        for steps in _LOG_STEPS:
            ticks = self._at_steps(steps)
            if len(ticks) <= most:
                break
        if len(ticks) >= 3:
            return ticks
        dense = self._at_steps(_DENSE_LOG_STEPS)
        return dense if len(dense) <= most + 1 else ticks

    def _at_steps(self, steps: Iterable[float]) -> list[float]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        every = (round(step * 10.0**decade, 12) for decade in decades for step in steps)
        return [value for value in every if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)]


@dataclass(frozen=True, slots=True)
class Nines:
    """Of shares below 1: every further nine (0.9, 0.99, ...) is equally long. `high` is the last share."""

    high: float
    start: float
    end: float

    def at(self, share: float) -> float:
        """Pixel of a share; at or above `high` is the end."""
        return self.start + math.log10(1 - min(share, self.high)) / math.log10(1 - self.high) * (
            self.end - self.start
        )

    def ticks(self) -> list[float]:
        """0, 50 %, and every nine."""
        nines = (1 - 10.0**-count for count in range(1, 10))
        return [0.0, 0.5, *(round(share, 9) for share in nines if share <= self.high + 1e-12)]


def nice_step(atleast: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below."""
    power = 10.0 ** math.floor(math.log10(atleast))
    return next(
        (factor * power for factor in (1, 2, 2.5, 5) if factor * power >= atleast * (1 - 1e-9)), 10 * power
    )


def from_zero(values: Iterable[float | None], start: float, end: float, most: int = 5) -> Linear:
    """Zero to a round value at or above the largest."""
    largest = max((value for value in values if value is not None), default=0.0)
    if largest <= 0:
        return Linear(0.0, 1.0, start, end)
    step = nice_step(largest / most)
    return Linear(0.0, step * math.ceil(largest / step - 1e-9), start, end)


def around(values: Iterable[float], start: float, end: float, most: int = 4) -> Linear:
    """Round values about the smallest and the largest; from zero where that is not far away."""
    known = list(values) or [0.0, 1.0]
    low, high = min(known), max(known)
    if 0 <= low < 0.6 * high:
        return from_zero(known, start, end, most)
    step = nice_step(max(high - low, abs(high) * 0.02, 1e-9) / most)
    bottom, top = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Linear(bottom, max(top, bottom + step), start, end)


def decades(values: Iterable[float | None], start: float, end: float) -> Log:
    """A little below the smallest positive value to a little above the largest."""
    known = [value for value in values if value is not None and value > 0] or [1.0, 10.0]
    low, high = min(known) * 0.92, max(known) * 1.08
    return Log(low, high, start, end)


def seconds_step(duration_s: float, most: int) -> float:
    """A step of seconds, minutes or hours that gives at most `most` + 1 ticks."""
    return next((step for step in _STEPS_S if duration_s / step <= most), nice_step(duration_s / most))
