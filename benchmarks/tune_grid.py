"""The tuner against the whole grid measured live, and against Optuna and random search with as many live runs.

    python benchmarks/tune_grid.py grid  [--loads steady bursty cache-heavy] [--seconds 1.5] [--passes 2]
    python benchmarks/tune_grid.py tune  [--loads ...] [--seconds 3]
    python benchmarks/tune_grid.py final [--loads ...] [--rounds 5]
    python benchmarks/tune_grid.py show

`grid` measures all 350 settings of each load in random order, twice, on one server (an hour for three loads). `tune` runs the
tuner itself on a fresh server. `final` measures the tuner's choice, the grid's best and the baseline in turns, for the
comparison that counts. `show` prints the table; there Optuna's TPE and random search choose from the first pass with
the same number of live runs, 20 times each, and what they chose is judged by the second pass, as is the grid's own best.
Results lie in build/tune_grid/*.json, so that the parts may run at different times.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
from load import machine
from tune_plant import KNOBS, LOADS, Load, bench_of

from paceline.tune.blackbox import BlackBoxSearch, RandomSearch
from paceline.tune.knob import Knob
from paceline.tune.pipeline import Tuner
from paceline.tune.report import TuneReport
from paceline.tune.report import decode as read_report
from paceline.tune.report import encode as write_report
from paceline.tune.setting import Setting, key, label
from paceline.tune.watcher import Silence

FOLDER = Path("build/tune_grid")
REPETITIONS = 20
LIVE_RUNS = 10
BASELINE = {
    "embed.batch.max_size": 32,
    "embed.batch.max_cost": 512,
    "embed.batch.max_wait_ms": 10.0,
    "embed.batch.adaptive": True,
}


class Point(msgspec.Struct):
    """One setting measured live."""

    setting: dict[str, bool | int | float | str]
    p95_ms: list[float]
    """One a pass; infinite where requests failed."""


def settings() -> list[Setting]:
    """The grid, as changes to the baseline."""
    return [
        {name: value for name, value in zip(KNOBS, values, strict=True) if value != BASELINE[name]}
        for values in product(*KNOBS.values())
    ]


def grid(load: Load, seconds: float, passes: int) -> None:
    """Measure every setting, `passes` times, each pass in another random order."""
    points = {key(setting): Point(dict(setting), []) for setting in settings()}
    with bench_of(load, seconds) as (bench, _, _admin):
        began = time.monotonic()
        bench.run({})  # warm
        for number in range(passes):
            order = list(points.values())
            random.Random(number).shuffle(order)
            for place, point in enumerate(order):
                seen = bench.run(point.setting).observation
                point.p95_ms.append(seen.p_of_all(0.95))
                if place % 25 == 0:
                    print(
                        f"{load.name} pass {number + 1}: {place}/{len(order)} {time.monotonic() - began:.0f} s",
                        flush=True,
                    )
    write(f"{load.name}-grid", list(points.values()))


def tune(load: Load, seconds: float) -> None:
    """One tune of a fresh server."""
    with bench_of(load, seconds) as (bench, order, _):
        report = Tuner(bench, order, Silence()).run()
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{load.name}-tune.json").write_bytes(write_report(report))
    print(load.name, report.outcome, label(report.winner), f"{report.seconds:.0f} s", *report.why, sep="\n  ")


def final(load: Load, seconds: float, rounds: int) -> None:
    """The contestants in turns: the tuner's choice, the grid's best, the baseline."""
    points, report = read_grid(load), read_tune(load)
    best = min(points, key=lambda point: statistics.mean(point.p95_ms))
    contestants = {"baseline": {}, "tuner": choice(report), "grid": best.setting}
    seen: dict[str, list[float]] = {name: [] for name in contestants}
    with bench_of(load, seconds) as (bench, _, _admin):
        bench.run({})
        for number in range(rounds):
            names = list(contestants)
            random.Random(number).shuffle(names)
            for name in names:
                seen[name].append(bench.run(contestants[name]).observation.p_of_all(0.95))
    write(f"{load.name}-final", seen)
    print(load.name, {name: f"{statistics.median(values):.2f}" for name, values in seen.items()})


def choice(report: TuneReport) -> Setting:
    """What the tuner would have: the winner, the best verified one where nothing was proven, or the baseline."""
    if report.winner:
        return report.winner
    return report.standings[0].setting if report.standings else {}


def searched(points: list[Point], kind: type[BlackBoxSearch | RandomSearch], seed: int) -> float:
    """p95 by the second pass of what a search over the first pass chose."""
    knobs = [Knob(name, BASELINE[name], values) for name, values in KNOBS.items()]
    first = {key(point.setting): point.p95_ms[0] for point in points}
    second = {key(point.setting): point.p95_ms[-1] for point in points}
    search = kind(knobs, LIVE_RUNS, seed)
    while (setting := search.propose()) is not None:
        value = first[key(setting)]
        search.tell(setting, float(np.log(value)) if np.isfinite(value) else None)
    chosen = search.best(1)
    return second[key(chosen[0])] if chosen else second[key({})]


def show(loads: list[Load]) -> None:
    """The tables."""
    print(machine())
    for load in loads:
        points, report = read_grid(load), read_tune(load)
        seen = read(f"{load.name}-final")
        median = {name: statistics.median(values) for name, values in seen.items()}
        spread = {name: (min(values), max(values)) for name, values in seen.items()}
        runs = sum(trial.phase in {"baseline", "calibrate", "verify"} for trial in report.trials)
        blocks = report.ab.blocks if report.ab else 0
        print(f"\n{load.name}: {len(points)} settings, {load.rate:g}/s")
        for name, value in median.items():
            print(f"  {name:<9} p95 {value:7.2f} ms [{spread[name][0]:.2f}, {spread[name][1]:.2f}]")
        pairs = [a / b for a, b in zip(seen["tuner"], seen["grid"], strict=True)]
        print(
            f"  tuner over the grid's best: {median['tuner'] / median['grid']:.3f}; round by round median {statistics.median(pairs):.3f}"
        )
        print(
            f"  tuner: {label(choice(report))} ({report.outcome}); {runs} live runs and {blocks} A/B blocks in {report.seconds:.0f} s"
        )
        if report.ab:
            print(
                f"  A/B {report.ab.change.value:+.3f} [{report.ab.change.low}, {report.ab.change.high}] {report.ab.verdict}"
            )
        second = {key(point.setting): point.p95_ms[-1] for point in points}
        by_first = min(points, key=lambda point: point.p95_ms[0])
        best_two = min(points, key=lambda point: statistics.mean(point.p95_ms))
        reference = statistics.mean(best_two.p95_ms)
        ours = second.get(key(choice(report)), float("nan"))
        print(f"  judged by the second pass, over the mean of the grid's best ({reference:.2f} ms):")
        print(
            f"    tuner {ours / reference:.2f}; best of the whole first pass ({len(points)} runs) {by_first.p95_ms[-1] / reference:.2f}"
        )
        for name, kind in (("Optuna TPE", BlackBoxSearch), ("random", RandomSearch)):
            values = sorted(searched(points, kind, seed) / reference for seed in range(REPETITIONS))
            near = sum(value <= 1.05 for value in values)
            print(
                f"    {name}, {LIVE_RUNS} runs, {REPETITIONS} times: median {statistics.median(values):.2f} [{values[0]:.2f}, {values[-1]:.2f}], within 5 %: {near}"
            )
        predictions(points, report)


def predictions(points: list[Point], report: TuneReport) -> None:
    """How near the simulated p95 was to the measured one, of settings that no calibration ran."""
    measured = {key(point.setting): point.p95_ms for point in points}
    used = {key(trial.setting) for trial in report.trials if trial.phase in {"baseline", "calibrate"}}
    rows = []
    saturated = 0
    for one in report.predictions:
        if key(one.setting) in used or key(one.setting) not in measured:
            continue
        if one.p95_ms.value is None:
            saturated += 1
        elif one.utilisation < 0.8:
            rows.append((one.p95_ms.value, one.p95_ms.low, one.p95_ms.high, *measured[key(one.setting)]))
    table = np.array(rows, dtype=float)
    table = table[np.isfinite(table).all(axis=1)]
    mean = table[:, 3:].mean(axis=1)
    error = np.abs(table[:, 0] / mean - 1.0)
    covered = (table[:, 1] <= table[:, 3]) & (table[:, 3] <= table[:, 2])
    apart = np.abs(np.log(table[:, 3] / table[:, -1])) if table.shape[1] > 4 else np.zeros(1)
    print(
        f"  predictions of {len(table)} settings below 80 %: median error {100 * np.median(error):.1f} % "
        f"(90 % within {100 * np.quantile(error, 0.9):.0f} %), rank correlation {_spearman(table[:, 0], mean):.3f}, interval "
        f"covers {100 * covered.mean():.0f} %; saturated {saturated}; two runs of one setting differ by "
        f"{100 * float(np.median(apart)):.1f} % (median)"
    )


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(values)).astype(float) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def write(name: str, content: object) -> None:
    """Keep a result."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_bytes(msgspec.json.encode(content))


def read(name: str) -> dict[str, list[float]]:
    """A kept result."""
    found: dict[str, list[float]] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def read_grid(load: Load) -> list[Point]:
    """The measured grid."""
    return msgspec.json.decode((FOLDER / f"{load.name}-grid.json").read_bytes(), type=list[Point])


def read_tune(load: Load) -> TuneReport:
    """The tuner's report."""
    return read_report((FOLDER / f"{load.name}-tune.json").read_bytes())


def main() -> int:
    """One part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("grid", "tune", "final", "show"))
    parser.add_argument("--loads", nargs="+", default=[load.name for load in LOADS])
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    loads = [load for load in LOADS if load.name in options.loads]
    for load in loads if options.part != "show" else []:
        if options.part == "grid":
            grid(load, options.seconds or 1.5, options.passes)
        elif options.part == "tune":
            tune(load, options.seconds or 3.0)
        else:
            final(load, options.seconds or 3.0, options.rounds)
    if options.part == "show":
        show(loads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
