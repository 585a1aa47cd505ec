"""Service-level objectives: a target to hold and a critical level never to cross, for each measured quantity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

State = Literal["ok", "warning", "critical", "unknown"]

STATES: dict[State, str] = {
    "ok": "met",
    "warning": "missed",
    "critical": "critical",
    "unknown": "not measured",
}
"""How a state is called in reports."""


class Objective(msgspec.Struct, frozen=True):
    """One row of the table. `target` and `critical` are in the unit of the measured value."""

    name: str
    label: str
    target: float
    critical: float
    unit: str
    higher_is_better: bool = False

    def state(self, value: float | None) -> State:
        """`ok` when the target is met, `warning` between the levels, `critical` beyond; None is `unknown`."""
        if value is None:
            return "unknown"
        sign = -1 if self.higher_is_better else 1
        if sign * value < sign * self.target:
            return "ok"
        return "warning" if sign * value < sign * self.critical else "critical"


class Verdict(msgspec.Struct, frozen=True):
    """One objective beside what was measured."""

    objective: Objective
    value: float | None
    state: State


DEFAULT_OBJECTIVES: tuple[Objective, ...] = (
    Objective("p95_ms", "p95 latency", 300, 600, "ms"),
    Objective("p99_ms", "p99 latency", 500, 1000, "ms"),
    Objective("error_percent", "errors", 0.5, 2, "%"),
    Objective("hit_percent", "cache hit rate", 50, 30, "%", higher_is_better=True),
    Objective("queue_depth", "queue depth", 50, 100, "jobs"),
    Objective("cpu_percent", "CPU", 70, 90, "%"),
    Objective("memory_gb", "memory", 6, 8, "GB"),
)
"""The levels of the source documents' table (requirements M-3)."""


def judge(
    values: Mapping[str, float], objectives: tuple[Objective, ...] = DEFAULT_OBJECTIVES
) -> list[Verdict]:
    """Every objective with its value and state; a value that was not measured is `unknown`, never `ok`."""
    return [
        Verdict(objective, values.get(objective.name), objective.state(values.get(objective.name)))
        for objective in objectives
    ]


def worst(verdicts: list[Verdict]) -> State:
    """The state of the whole table."""
    order: tuple[State, ...] = ("critical", "unknown", "warning", "ok")
    return next((state for state in order if any(verdict.state == state for verdict in verdicts)), "unknown")
