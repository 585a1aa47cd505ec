"""A calibrated server that answers "what if": thousands of settings on the same scheduling code, in seconds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from msgspec.structs import replace

from paceline.base.slo import Objective
from paceline.tune.calibrate.posterior import Posterior
from paceline.tune.goal import Goal
from paceline.tune.report import Prediction, Range
from paceline.tune.setting import Key, Setting, key
from paceline.tune.simulation.capacity import SATURATED
from paceline.tune.simulation.station import Station
from paceline.tune.simulation.sweep import Sweep, sweep
from paceline.tune.workload import Workload

__all__ = ["SATURATED", "Expected", "Simulator", "interval"]

NORMAL_95: Final = 1.96
DRAINED: Final = 2
"""Particles that capacities are averaged over; they differ little in it."""
_BATCH: Final = ("max_size", "max_cost", "max_wait_ms", "adaptive")
_GATE: Final = ("slo_ms", "max_queue", "max_queue_tokens")
_CACHE: Final = ("max_bytes", "eviction", "enabled")


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of one setting, over the particles."""

    setting: Setting
    values: dict[str, float]
    """Means, by the names of objectives."""
    violation: float
    """Mean over the particles of the largest relative excess over a target."""
    score: float
    """Smaller is better; mean over the particles."""
    p95_log: tuple[float, float]
    """Mean and standard deviation of the logarithm of p95 in ms, as a live run would show it."""
    engine_ms: float
    """Engine milliseconds per request."""


class Simulator:
    """One server, one workload. `service` is the group of settings of what is under load, e.g. `embed`."""

    def __init__(self, workload: Workload, station: Station, belief: Posterior, service: str) -> None:
        """`station` is the baseline, with its layout resolved."""
        self.workload = workload
        self.belief = belief
        self._station = station
        self._service = service
        self.simulated = 0
        """Settings times particles so far."""
        self.seconds = 0.0
        """Spent on them."""
        self.seen: set[Key] = set()
        """The settings."""

    def models(self, name: str) -> bool:
        """Whether this knob's effect is simulated."""
        return self._place(name) is not None

    def _place(self, name: str) -> tuple[str, str] | None:
        """Policy of the station, and its field, that a dotted name turns."""
        group, _, field = name.rpartition(".")
        for known, policy, fields in (
            (f"{self._service}.batch", "batch", _BATCH),
            (f"{self._service}.gate", "gate", _GATE),
            ("cache.l1", "cache", _CACHE),
        ):
            if group == known and field in fields:
                return policy, field
        return None

    def station(self, setting: Setting) -> Station:
        """The baseline with these changes. Knobs that are not modelled change nothing here."""
        model = self.belief.particles[0]
        changes: dict[str, dict[str, Any]] = {}
        for name, value in setting.items():
            place = self._place(name)
            if place is not None:
                changes.setdefault(place[0], {})[place[1]] = value
        policies = {
            policy: replace(getattr(self._station, policy), **fields)
            for policy, fields in changes.items()
            if getattr(self._station, policy) is not None
        }
        return replace(self._station, prior=(model.a, model.b, model.c, model.d), **policies)

    def expect(
        self,
        settings: Sequence[Setting],
        goal: Goal,
        *,
        particles: int | None = None,
        speed: float = 1.0,
        share: float = 1.0,
    ) -> list[Expected]:
        """What each setting would show, averaged over the first `particles`, on the first `share` of the trace."""
        swept, quantiles = self._sweep(settings, goal, particles, speed, share)
        offered = swept.mean_s.shape  # (settings, particles)
        answered = 1.0 - swept.refused_share
        rate = self.workload.requests / self.workload.duration_s * speed
        scale = np.exp(self.belief.bias) * 1e3
        latency = {f"p{100 * q:g}_ms": swept.quantile_s[at] * scale for at, q in enumerate(quantiles)}
        values = latency | {
            "mean_ms": swept.mean_s * scale,
            "max_ms": latency["p99.9_ms"] if "p99.9_ms" in latency else latency["p95_ms"],
            "error_percent": 100.0 * swept.refused_share,
            "rate_per_s": rate * answered,
        }
        values = {name: np.nan_to_num(value, nan=1e6, posinf=1e6) for name, value in values.items()}
        engine_ms = swept.engine_s * 1e3 / np.maximum(answered * self._requests(share), 1.0)
        violation = np.zeros(offered)
        for objective in goal.objectives:
            if objective.name in values:
                violation = np.maximum(violation, _excess(objective, values[objective.name]))
        score = {
            "latency": values.get(goal.latency_quantity, values["p95_ms"]),
            "cost": engine_ms,
            "throughput": -values["rate_per_s"] * (violation == 0.0),
        }[goal.aim]
        logs = np.log(values["p95_ms"])
        spread = np.sqrt(logs.var(axis=1) + self.belief.error**2)
        return [
            Expected(
                setting=setting,
                values={name: float(value[at].mean()) for name, value in values.items()},
                violation=float(violation[at].mean()),
                score=float(score[at].mean()),
                p95_log=(float(logs[at].mean()), float(spread[at])),
                engine_ms=float(engine_ms[at].mean()),
            )
            for at, setting in enumerate(settings)
        ]

    def utilisation(self, settings: Sequence[Setting], *, speed: float = 1.0) -> list[float]:
        """Offered rate over the most that each setting can do, by its own scheduling."""
        began = time.perf_counter()
        stations = [self.station(setting) for setting in settings]
        found = sweep(self.workload, stations, self.belief.particles[:DRAINED], quantiles=(0.5,))
        self.seconds += time.perf_counter() - began
        self.simulated += 2 * len(settings) * DRAINED
        return [speed * one for one in found.utilisation.mean(axis=1).tolist()]

    def predict(self, expected: Sequence[Expected], *, speed: float = 1.0) -> list[Prediction]:
        """For the report: with intervals, and "saturated" in place of numbers that nobody can know."""
        used = self.utilisation([one.setting for one in expected], speed=speed)
        return [
            Prediction(
                setting=dict(one.setting),
                p95_ms=interval(one, share),
                score=one.score,
                cost_ms=one.engine_ms,
                utilisation=share,
                meets_slo=one.violation == 0.0 and share < SATURATED,
            )
            for one, share in zip(expected, used, strict=True)
        ]

    def _sweep(
        self, settings: Sequence[Setting], goal: Goal, particles: int | None, speed: float, share: float
    ) -> tuple[Sweep, tuple[float, ...]]:
        wanted = {0.5, 0.95} | {
            q for objective in goal.objectives if (q := _quantile(objective.name)) is not None
        }
        if goal.latency_quantity == "max_ms" or any(one.name == "max_ms" for one in goal.objectives):
            wanted.add(0.999)
        quantiles = tuple(sorted(wanted))
        workload = self.workload
        if share < 1.0:
            workload = workload.head(self._requests(share))
        if speed != 1.0:
            workload = workload.faster(speed)
        models = self.belief.particles[:particles]
        began = time.perf_counter()
        found = sweep(
            workload,
            [self.station(setting) for setting in settings],
            models,
            quantiles=quantiles,
            drain=False,
        )
        self.seconds += time.perf_counter() - began
        self.simulated += len(settings) * len(models)
        self.seen |= {key(setting) for setting in settings}
        return found, quantiles

    def _requests(self, share: float) -> int:
        return max(1, round(self.workload.requests * share))


def interval(expected: Expected, utilisation: float) -> Range:
    """The 95 % interval of p95 in ms of a live run."""
    if utilisation >= SATURATED:
        return Range(reason="saturated")
    mean, spread = expected.p95_log
    low, value, high = np.exp([mean - NORMAL_95 * spread, mean, mean + NORMAL_95 * spread]).tolist()
    return Range(value, low, high)


def _quantile(name: str) -> float | None:
    """0.95 of `p95_ms`."""
    if not (name.startswith("p") and name.endswith("_ms")):
        return None
    try:
        return float(name[1:-3]) / 100.0
    except ValueError:
        return None


def _excess(objective: Objective, value: np.ndarray) -> np.ndarray:
    """As `Goal.violation` has it, over an array."""
    beyond = objective.target - value if objective.higher_is_better else value - objective.target
    return np.where(beyond > 0.0, beyond / max(abs(objective.target), 0.1), 0.0)
