"""The highest rate that holds an objective, found in about a dozen noisy probes.

Sans-IO: ask `next_rate`, load the server at that rate, `tell` what came of it, until there is no next rate. The rate
doubles until the objective breaks (or halves until it holds), so no probe asks more than twice what held before; then
probes gather round the crossing, where they say most, until its interval is narrow enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from math import inf, sqrt
from typing import Literal

from paceline.base.errors import ConfigError
from paceline.measure.statistics.crossing import Point, crossing, crossing_interval, spread_of
from paceline.measure.statistics.interval import Interval

Outcome = Literal["found", "never_held", "never_broke", "unknown"]
GROWTH = 2.0
_APPROACH = 6
ACHIEVED = 0.98
_FAR_ABOVE = 2.0
"""Growing latencies beyond so many limits are those of an overloaded queue, not of a busy spell."""
_CLOSE = 0.15
_WIDE = 1.3
"""Brackets wider than this are halved before the line is trusted to place probes close together."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One probe. `held` judges the value alone; `sustained` says whether it is a latency of a steady state at all."""

    rate: float
    done_per_s: float
    latency: Interval
    failed_share: float
    sustained: bool
    held: bool


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the probes together say; `rate` holds value, low and high in requests per second."""

    outcome: Outcome
    rate: Interval
    probes: int


class CapacitySearch:
    """Rates per second; `limit` and the intervals told in one unit, such as milliseconds."""

    def __init__(  # noqa: PLR0913 - keyword options with defaults
        self,
        limit: float,
        start: float,
        *,
        resolution: float = 0.03,
        least: float | None = None,
        most: float = inf,
        probes: int = 12,
        failed_share: float = 0.01,
        level: float = 0.95,
        seed: int = 1,
    ) -> None:
        """`least` (default start / 256) and `most` bound the rates tried; `resolution` is the relative half-width asked.

        Raises ConfigError for a limit or rates that cannot be.
        """
        self._least = start / 256.0 if least is None else least
        if limit <= 0.0:
            raise ConfigError(f"limit {limit:g} is not above 0: give the latency to hold", param="limit")
        if not 0.0 < self._least <= start <= most:
            message = f"start rate {start:g}/s is not within {self._least:g} to {most:g}: start inside the rates allowed"
            raise ConfigError(message, param="start")
        if not 0.0 < resolution < 1.0:
            raise ConfigError(
                f"resolution {resolution:g} is not between 0 and 1: 0.03 is 3 %", param="resolution"
            )
        self._limit, self._start, self._most = limit, start, most
        self._resolution, self._probes = resolution, probes
        self._failed_share, self._level, self._seed = failed_share, level, seed
        self.tried: list[Tried] = []

    def tell(  # noqa: PLR0913 - what a probe measured
        self,
        rate: float,
        done_per_s: float,
        latency: Interval,
        failed_share: float = 0.0,
        *,
        offered_per_s: float | None = None,
        rising: bool = False,
    ) -> None:
        """What a probe at `rate` showed. A probe cut short because it collapsed is told as it stands.

        `offered_per_s` is what was really offered in that time (a Poisson rate is off by chance); default: `rate`.
        With `rising` latencies the queue grew: far above the limit, their quantile is no steady state's and only says
        that the objective broke.
        """
        value = latency.value
        kept_up = done_per_s >= ACHIEVED * (rate if offered_per_s is None else offered_per_s)
        sustained = kept_up and failed_share <= self._failed_share and value is not None
        if rising and value is not None and value > _FAR_ABOVE * self._limit:
            sustained = False
        held = sustained and value is not None and value <= self._limit
        self.tried.append(Tried(rate, done_per_s, latency, failed_share, sustained, held))

    def next_rate(self) -> float | None:
        """The rate to try now; None when the search is over."""
        if not self.tried:
            return self._start
        if self._spent() >= self._probes:
            return None
        held, broke = self._bracket()
        if broke is None:
            return None if held is None or held >= self._most else min(held * GROWTH, self._most)
        if held is None:
            return self._lower(broke)
        if broke / held > _WIDE:
            return self._between(held, broke)
        if self._narrow():
            return None
        return self._around(held, broke)

    @property
    def short(self) -> bool:
        """Whether the last steady probe was too short to have an interval: make the next ones longer."""
        steady = [probe for probe in self.tried if probe.sustained]
        return bool(steady) and steady[-1].latency.low is None

    def result(self) -> Capacity:
        """The capacity as far as the probes tell it, at any time."""
        held, broke = self._bracket()
        count = len(self.tried)
        if held is None and broke is None:
            return Capacity("unknown", Interval(None, reason="no probe was told", level=self._level), 0)
        if broke is None:
            why = f"held up to {held:g}/s, the highest rate tried"
            return Capacity("never_broke", Interval(None, held, None, reason=why, level=self._level), count)
        if held is None:
            why = f"did not hold at {broke:g}/s, the lowest rate tried"
            return Capacity("never_held", Interval(None, None, broke, reason=why, level=self._level), count)
        value, low, high = self._estimate(held, broke)
        width = (high - low) / 2.0 / value
        enough = width <= self._resolution
        reason = (
            None if enough else f"within {width:.1%} after {count} probes, {self._resolution:.1%} was asked"
        )
        rate = Interval(value, low, high, float(count), count, reason, enough, self._level)
        return Capacity("found", rate, count)

    def _spent(self) -> int:
        """Probes counted against the budget: getting near from a start far off counts for so many at most."""
        approach = sum(1 for _ in takewhile(lambda probe: probe.held == self.tried[0].held, self.tried))
        return len(self.tried) - max(0, approach - _APPROACH)

    def _bracket(self) -> tuple[float | None, float | None]:
        """The highest rate that held and the lowest above it that broke; noise below it is the fit's to judge."""
        broken = [probe.rate for probe in self.tried if not probe.held]
        floor = self._cliff()
        held = max((probe.rate for probe in self.tried if probe.held and probe.rate < floor), default=None)
        if held is None:
            return None, min(broken, default=None)
        return held, min((rate for rate in broken if rate > held), default=max(broken, default=None))

    def _lower(self, broke: float) -> float | None:
        """Down, guided by what a collapsed server still answered; None below the least rate."""
        if broke <= self._least:
            return None
        done = min((probe.done_per_s for probe in self.tried if probe.rate == broke), default=0.0)
        return max(self._least, min(max(0.7 * done, broke / 8.0), broke / GROWTH))

    def _points(self) -> list[Point]:
        """Steady latencies with their noise."""
        points = []
        for probe in self.tried:
            seen = probe.latency
            if not probe.sustained or seen.value is None or seen.value <= 0.0:
                continue
            spread = None
            if seen.low is not None and seen.high is not None and seen.low > 0.0:
                spread = max(0.005, spread_of(seen.low, seen.high, seen.level))
            points.append(Point(probe.rate, seen.value, spread))
        return points

    def _between(self, held: float, broke: float) -> float:
        """Where the line crosses, kept off the ends of the bracket; its middle without a line."""
        points = self._points()
        # A server asked too much answers at its saturation rate, where 1 / latency is next to nothing.
        points += [
            Point(probe.done_per_s, 100.0 * self._limit, None)
            for probe in self.tried
            if not probe.sustained and probe.done_per_s > held
        ]
        guess = crossing(points, self._limit) or sqrt(held * broke)
        ratio = broke / held
        return min(max(guess, held * float(ratio**0.2)), held * float(ratio**0.8))

    def _around(self, held: float, broke: float) -> float:
        """By turns a little below and a little above the crossing, as far as the noise is wide."""
        value, low, high = self._estimate(held, broke)
        if high >= self._cliff() > held:
            return sqrt(held * self._cliff())
        step = min(0.06, max(self._resolution, (high - low) / 4.0 / value))
        if not self._broken_near(value):
            return min(max(high, value * (1.0 + step)), self._most)
        below = sum(1 for probe in self.tried if probe.sustained and abs(probe.rate / value - 1.0) < _CLOSE)
        rate = value * (1.0 - step if below % 2 else 1.0 + step / 2.0)
        return min(max(rate, self._least), self._most)

    def _cliff(self) -> float:
        """The lowest rate at which the server collapsed."""
        return min((probe.rate for probe in self.tried if not probe.sustained), default=inf)

    def _broken_near(self, value: float) -> bool:
        """Whether the objective was seen to break there: a line alone would pass over a cliff."""
        return any(not probe.held and probe.rate < 1.1 * value for probe in self.tried)

    def _narrow(self) -> bool:
        rate = self.result().rate
        if not rate.enough or rate.value is None or not self._broken_near(rate.value):
            return False
        return sum(1 for probe in self.tried if abs(probe.rate / rate.value - 1.0) < _CLOSE) >= 3

    def _estimate(self, held: float, broke: float) -> tuple[float, float, float]:
        """Value, low, high: of the fit, within what collapses allow; the bracket where the latency is a cliff."""
        points = self._points()
        cliff = self._cliff()
        value = crossing(points, self._limit)
        limits = crossing_interval(points, self._limit, self._level, self._seed)
        low, high = min(held, broke), max(held, broke)
        if value is None or limits is None or value >= cliff:
            return sqrt(low * high), low, high
        if limits[1] >= cliff:
            # The line would go on where the server collapsed: the collapse may lie anywhere above what held.
            low = min(limits[0], held)
            return min(value, sqrt(low * cliff)), low, cliff
        return value, min(limits[0], value), max(limits[1], value)
