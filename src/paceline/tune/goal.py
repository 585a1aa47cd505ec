"""What a tune is to reach: objectives that must hold, and what is to be small once they do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import inf, isfinite, isnan, log
from os import cpu_count
from typing import Final, Literal, get_args

import msgspec

from paceline.base.errors import ConfigError
from paceline.base.goodput import limits
from paceline.base.slo import Objective
from paceline.tune.observation import Observation

Aim = Literal["latency", "throughput", "cost"]
AIMS: Final[tuple[Aim, ...]] = get_args(Aim)

_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)_ms")
_LEAST_SCORE = 1e-9
"""A cost or latency of nothing is below what a clock can tell, not infinitely good."""
_LEAST_TARGET = 0.1
"""Excess is relative to the target, but to no less than this: `errors == 0` must not drown every other objective."""


class Goal(msgspec.Struct, frozen=True):
    """Objectives first, then the aim. Scores are smaller for the better run, in every aim."""

    objectives: tuple[Objective, ...]
    aim: Aim = "latency"

    def __post_init__(self) -> None:
        """Raises ConfigError for an aim that does not exist."""
        if self.aim not in AIMS:
            raise ConfigError(
                f"aim {self.aim!r} does not exist; aim for {', '.join(AIMS[:-1])} or {AIMS[-1]}",
                param="objective",
            )

    @property
    def limit_ms(self) -> float | None:
        """What the objectives ask of one request's latency; None when they ask nothing of it."""
        return limits(self.objectives).latency

    @property
    def latency_quantity(self) -> str:
        """What `latency` makes small: the first latency among the objectives, or else `p95_ms`."""
        return next((each.name for each in self.objectives if _is_latency(each.name)), "p95_ms")

    def measured(self, observation: Observation) -> dict[str, float]:
        """Value by name of every objective that the run tells about; what only the server knows may be missing."""
        values = {each.name: self._value(each.name, observation) for each in self.objectives}
        return {name: value for name, value in values.items() if value is not None}

    def unmeasured(self, values: Mapping[str, float]) -> tuple[Objective, ...]:
        """Objectives without a value: they are neither met nor missed, and a report has to say so."""
        return tuple(each for each in self.objectives if each.name not in values)

    def violation(self, values: Mapping[str, float]) -> float:
        """How far the worst objective is from its target, as a share of the target; 0 when all measured ones hold.

        0.2 is a p95 of 360 ms for a target of 300 ms; infinite for a latency when nothing was answered.
        """
        return max(
            (_excess(each, values[each.name]) for each in self.objectives if each.name in values), default=0.0
        )

    def binding(self, values: Mapping[str, float]) -> Objective | None:
        """The objective that is furthest from its target; None when all measured ones hold."""
        missed = [
            each for each in self.objectives if each.name in values and _excess(each, values[each.name]) > 0.0
        ]
        return max(missed, key=lambda each: _excess(each, values[each.name]), default=None)

    def score(self, observation: Observation) -> float:
        """Smaller is better: ms for `latency`, CPU seconds per good request for `cost`, minus good requests/s else.

        A failed request is slower than any answer. Infinite when the run has nothing to show. Raises ConfigError for
        `cost` when neither CPU nor engine seconds are known.
        """
        if self.aim == "throughput":
            return -observation.goodput_per_s(self.limit_ms)
        if self.aim == "latency":
            return _latency(self.latency_quantity, observation)
        cost = observation.busy_s_per_good(self.limit_ms)
        if isnan(cost):
            raise ConfigError(
                "aim 'cost' needs the CPU seconds of the server, and the run tells none (no cpu_s, no engine_s); "
                "tune a server on this host, or aim for latency or throughput",
                param="objective",
            )
        return cost

    def log_score(self, observation: Observation) -> float:
        """Smaller is better, and 0.05 apart is 5 % apart, in every aim; infinite when nothing was good. Raises as `score`."""
        score = abs(self.score(observation))
        if self.aim == "throughput":
            return -log(score) if score else inf
        return log(max(score, _LEAST_SCORE))

    def rank(self, observation: Observation) -> tuple[float, float]:
        """Sorts runs: feasible ones by score, then the others by how far they are off, then by score."""
        return self.violation(self.measured(observation)), self.score(observation)

    def _value(self, name: str, observation: Observation) -> float | None:
        if name in observation.metrics:
            return observation.metrics[name]
        percentile = _PERCENTILE.fullmatch(name)
        if percentile:
            return observation.p(float(percentile[1]) / 100.0)
        match name:
            case "mean_ms":
                return observation.mean_ms
            case "max_ms":
                return observation.max_ms
            case "error_percent":
                return observation.error_percent
            case "goodput_percent":
                return observation.goodput_percent(self.limit_ms)
            case "rate_per_s":
                return observation.rate_per_s
            case "cpu_percent" if observation.cpu_s is not None:
                return 100.0 * observation.cpu_s / observation.duration_s / (cpu_count() or 1)
            case _:
                return None


def _is_latency(name: str) -> bool:
    return name in {"mean_ms", "max_ms"} or _PERCENTILE.fullmatch(name) is not None


def _latency(name: str, observation: Observation) -> float:
    percentile = _PERCENTILE.fullmatch(name)
    if percentile:
        return observation.p_of_all(float(percentile[1]) / 100.0)
    largest = observation.max_ms
    if name == "max_ms" or not isfinite(largest):
        return largest
    unanswered = len(observation.latency_ms) - observation.answered_ms.size
    # A mean has no place for infinity, so a failed request is as slow as the slowest answer.
    return float((observation.answered_ms.sum() + unanswered * largest) / len(observation.latency_ms))


def _excess(objective: Objective, value: float) -> float:
    if objective.state(value) == "ok":
        return 0.0
    beyond = objective.target - value if objective.higher_is_better else value - objective.target
    return max(beyond / max(abs(objective.target), _LEAST_TARGET), 1e-9)
