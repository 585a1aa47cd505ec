"""What tune reports are made of: knobs, settings, predictions and runs, from a seed."""

from __future__ import annotations

import random
from itertools import product

from paceline.base.slo import Objective
from paceline.tune.report import (
    Calibration,
    Coefficient,
    Prediction,
    Range,
    SearchedKnob,
    SloValue,
    Trial,
    Workload,
)
from paceline.tune.setting import Value

OBJECTIVES = [
    Objective("p95_ms", "p95 latency", 40, 80, "ms"),
    Objective("error_percent", "errors", 0.5, 2, "%"),
    Objective("rate_per_s", "rate", 115, 100, "/s", higher_is_better=True),
]
KNOBS = [
    SearchedKnob(
        "embed.batch.max_cost",
        [64, 128, 256, 512, 1024],
        512,
        True,
        False,
        True,
        "tokens",
        "memory of one batch",
    ),
    SearchedKnob("embed.batch.max_wait_ms", [0.0, 1.0, 2.0, 5.0, 10.0], 5.0, True, False, True, "ms"),
    SearchedKnob("embed.batch.max_size", [4, 8, 16, 32], 32, True, False, True, "texts"),
    SearchedKnob("embed.lanes", [1, 2], 1, False, False, True, "threads", "a restart of 4 s"),
    SearchedKnob("embed.precision", ["fp32", "bf16", "int8"], "fp32", False, True, False),
    SearchedKnob("embed.cache.memory_mb", [0, 64], 64, True, False, True, "MB"),
]
BASELINE: dict[str, Value] = {knob.name: knob.baseline for knob in KNOBS}
WINNER: dict[str, Value] = {
    "embed.batch.max_cost": 128,
    "embed.batch.max_wait_ms": 2.0,
    "embed.batch.max_size": 4,
}
SECOND: dict[str, Value] = {"embed.batch.max_cost": 128}
THIRD: dict[str, Value] = {**WINNER, "embed.batch.max_size": 8, "embed.lanes": 2}
FOURTH: dict[str, Value] = {"embed.batch.max_wait_ms": 0.0}
QUICK: dict[str, Value] = {"embed.precision": "int8"}
WORKLOAD = Workload("trace of an afternoon, day.csv", 600, 5.0, 120.0, 61.3, 24.0, 71.0)
CALIBRATION = Calibration(
    [
        Coefficient("per_batch", "ms", 1.84, 1.71, 1.98, "what a batch costs whatever is in it"),
        Coefficient("per_token", "us", 21.6, 20.9, 22.4, "for each padded token"),
        Coefficient("per_pair", "us", 0.041, 0.033, 0.05, "attention: for each pair of tokens of a text"),
        Coefficient("per_request", "ms", 0.62, 0.55, 0.71, "HTTP, JSON and scheduling around the engine"),
    ],
    1_842,
    4.3,
    32,
    11.4,
)


def predictions(seed: int = 3) -> list[Prediction]:
    """The full factorial of what is modelled; latency rises towards saturation, waiting makes batches cheap."""
    chance = random.Random(seed)
    modelled = [knob for knob in KNOBS if knob.modelled]
    rows = []
    for values in product(*(knob.values for knob in modelled)):
        whole = dict(zip([knob.name for knob in modelled], values, strict=True))
        setting = {name: value for name, value in whole.items() if value != BASELINE[name]}
        cost, wait, size, lanes, cache = values
        batch = min(cost / 40, size, 1 + wait * 1.4)
        engine = (1.84 / batch + 1.7 + cost / 900) * (1.0 if cache else 2.4) * chance.uniform(0.97, 1.03)
        used = 0.12 * engine / (1 + 0.35 * (lanes - 1))
        p95 = (
            (wait + 4 + engine * batch * 0.8 + cost / 60 + 0.3 * size)
            / max(1 - used, 0.05)
            * (1.05 - 0.03 * lanes)
        )
        saturated = used >= 0.9
        found = Range(reason="saturated") if saturated else Range(p95, p95 * 0.93, p95 * 1.09)
        rows.append(Prediction(setting, found, p95, engine, used, p95 < 40 and not saturated))
    return rows


def predicted(setting: dict[str, Value]) -> Range | None:
    """What the simulator says of a setting."""
    return next((row.p95_ms for row in predictions() if row.setting == setting), None)


def values(p95_ms: float, cpu: float = 61.0) -> dict[str, float]:
    """What a live run measures."""
    return {
        "p95_ms": p95_ms,
        "p99_ms": p95_ms * 1.31,
        "error_percent": 0.0,
        "rate_per_s": 119.6,
        "cpu_percent": cpu,
    }


def trials() -> list[Trial]:
    """A baseline, three runs to calibrate, verification of five candidates and an A/B."""
    chance = random.Random(5)
    made: list[Trial] = []

    def run(phase, setting, p95_ms, seconds=6.2):
        told = None if phase == "a/b" else predicted(setting)
        missed = max(0.0, p95_ms / 40 - 1)
        made.append(
            Trial(
                len(made) + 1, phase, setting, told, values(p95_ms), missed, 2.3 + p95_ms / 100,
                8.0 + 5.4 * len(made), seconds,
            )
        )  # fmt: skip

    run("baseline", {}, 61.2)
    for setting in ({"embed.batch.max_cost": 64}, {"embed.batch.max_wait_ms": 10.0}, FOURTH):
        found = predicted(setting)
        run("calibrate", setting, found.value * chance.uniform(0.94, 1.07))
    for setting in (WINNER, SECOND, THIRD, FOURTH):
        found = predicted(setting)
        run("verify", setting, found.value * chance.uniform(0.92, 1.12))
    run("verify", QUICK, 47.1)
    for _ in range(9):
        for setting, p95_ms in (({}, 61.0), (WINNER, 22.4)):
            run("a/b", setting, p95_ms * chance.uniform(0.93, 1.07), 2.1)
    return made


def points(settled: float, noise: float, blocks: int = 9) -> list[list[float | None]]:
    """The change after each block: the interval is not yet known after one, and narrows."""
    chance = random.Random(11)
    rows: list[list[float | None]] = [[settled + 2 * noise, None, None]]
    for block in range(2, blocks + 1):
        change = settled + chance.gauss(0, noise) / block
        half = 5 * noise / block**0.75
        rows.append([change, change - half, change + half])
    return rows


def judged(**measured: float) -> list[SloValue]:
    """Every objective beside a value."""
    return [
        SloValue(objective, measured.get(objective.name), objective.state(measured.get(objective.name)))
        for objective in OBJECTIVES
    ]
