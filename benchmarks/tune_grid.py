"""The tuner against the whole grid measured live, and against Optuna and random search with as many live runs.

    python benchmarks/tune_grid.py grid  [--loads steady bursty cache-heavy] [--seconds 1.2]
    python benchmarks/tune_grid.py tune  [--loads ...] [--seconds 3]
    python benchmarks/tune_grid.py again [--loads ...] [--seconds 1.2] [--rounds 2]
    python benchmarks/tune_grid.py final [--loads ...] [--seconds 3] [--rounds 5]
    python benchmarks/tune_grid.py show

`grid` measures all 300 settings of each load once, in random order, on one server (8 minutes a load). `tune` runs the
tuner itself on a fresh server. Optuna's TPE and random search choose from the grid's measurements with as many live runs
as the tuner, 20 times each; `again` measures what they chose, the 25 best of the grid, the tuner's choice and the baseline
anew, since a value that won by luck must not judge itself. `final` measures the tuner's choice, the best of the grid
(by all its measurements) and the baseline in turns, for the comparison that counts. `show` prints the tables.
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
BEST = 25
NEAR = 1.05
BASELINE = {
    "embed.batch.max_size": 32,
    "embed.batch.max_cost": 512,
    "embed.batch.max_wait_ms": 10.0,
    "embed.batch.adaptive": True,
}
SEARCHES = {"Optuna TPE": BlackBoxSearch, "random": RandomSearch}


class Point(msgspec.Struct):
    """One setting measured live."""

    setting: dict[str, bool | int | float | str]
    p95_ms: list[float]
    """Of the grid, then of `again`; infinite where requests failed."""

    @property
    def judged_ms(self) -> float:
        """By what was measured after the choice; NaN when it was not measured again."""
        return statistics.median(self.p95_ms[1:]) if len(self.p95_ms) > 1 else float("nan")


def settings() -> list[Setting]:
    """The grid, as changes to the baseline."""
    return [
        {name: value for name, value in zip(KNOBS, values, strict=True) if value != BASELINE[name]}
        for values in product(*KNOBS.values())
    ]


def grid(load: Load, seconds: float) -> None:
    """Measure every setting once, in random order."""
    points = [Point(dict(setting), []) for setting in settings()]
    measure(load, seconds, points, 1)
    write(f"{load.name}-grid", points)


def tune(load: Load, seconds: float) -> None:
    """One tune of a fresh server."""
    with bench_of(load, seconds) as (bench, order, _):
        report = Tuner(bench, order, Silence()).run()
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{load.name}-tune.json").write_bytes(write_report(report))
    print(
        load.name, report.outcome, label(choice(report)), f"{report.seconds:.0f} s", *report.why, sep="\n  "
    )


def again(load: Load, seconds: float, rounds: int) -> None:
    """Measure anew whatever is to be judged."""
    points = read_grid(load)
    wanted = {key({}), key(choice(read_tune(load)))}
    wanted |= {key(point.setting) for point in sorted(points, key=lambda point: point.p95_ms[0])[:BEST]}
    for kind in SEARCHES.values():
        wanted |= {key(searched(points, kind, seed)) for seed in range(REPETITIONS)}
    measure(load, seconds, [point for point in points if key(point.setting) in wanted], rounds)
    write(f"{load.name}-grid", points)


def final(load: Load, seconds: float, rounds: int) -> None:
    """The contestants in turns: the tuner's choice, the grid's best, the baseline."""
    contestants: dict[str, Setting] = {
        "baseline": {},
        "tuner": choice(read_tune(load)),
        "grid": best_of(read_grid(load)).setting,
    }
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


def measure(load: Load, seconds: float, points: list[Point], rounds: int) -> None:
    """Each point, `rounds` times, each round in another random order."""
    with bench_of(load, seconds) as (bench, _, _admin):
        began = time.monotonic()
        bench.run({})  # warm
        for number in range(rounds):
            order = list(points)
            random.Random(number).shuffle(order)
            for place, point in enumerate(order):
                point.p95_ms.append(bench.run(point.setting).observation.p_of_all(0.95))
                if place % 50 == 0:
                    print(f"{load.name} {place}/{len(order)} {time.monotonic() - began:.0f} s", flush=True)


def choice(report: TuneReport) -> Setting:
    """What the tuner would have: the winner, the best verified one where nothing was proven, or the baseline."""
    if report.winner:
        return report.winner
    return report.standings[0].setting if report.standings else {}


def searched(points: list[Point], kind: type[BlackBoxSearch | RandomSearch], seed: int) -> Setting:
    """What a search over the grid's measurements chose."""
    knobs = [Knob(name, BASELINE[name], values) for name, values in KNOBS.items()]
    first = {key(point.setting): point.p95_ms[0] for point in points}
    search = kind(knobs, LIVE_RUNS, seed)
    while (setting := search.propose()) is not None:
        value = first[key(setting)]
        search.tell(setting, float(np.log(value)) if np.isfinite(value) else None)
    chosen = search.best(1)
    return chosen[0] if chosen else {}


def best_of(points: list[Point]) -> Point:
    """The best of the grid by all its measurements, among those measured again."""
    known = [point for point in points if len(point.p95_ms) > 1]
    return min(known, key=lambda point: statistics.median(point.p95_ms))


def show(load: Load) -> None:
    """The table of one load."""
    points, report, seen = read_grid(load), read_tune(load), read_final(load)
    runs = sum(trial.phase in {"baseline", "calibrate", "verify"} for trial in report.trials)
    blocks = report.ab.blocks if report.ab else 0
    print(f"\n{load.name}: {len(points)} settings, {load.rate:g}/s")
    print(
        f"  tuner: {label(choice(report))} ({report.outcome}); {runs} live runs and {blocks} A/B blocks in {report.seconds:.0f} s, "
        f"{report.simulated_per_s or 0:.0f} simulations/s"
    )
    if report.ab:
        change = report.ab.change
        print(
            f"  A/B against the baseline: {change.value:+.3f} [{change.low}, {change.high}] {report.ab.verdict}"
        )
    print(f"  grid's best: {label(best_of(points).setting)}")
    for name, values in seen.items():
        print(f"  {name:<9} p95 {statistics.median(values):7.2f} ms [{min(values):.2f}, {max(values):.2f}]")
    # Whoever was told "kept" has the baseline.
    ends_with = "tuner" if report.winner else "baseline"
    for name in dict.fromkeys((ends_with, "tuner")):
        pairs = [a / b for a, b in zip(seen[name], seen["grid"], strict=True)]
        what = "what the tuner left the server on" if name == ends_with else "the tuner's best candidate"
        print(
            f"  {what} over the grid's best: {statistics.median(seen[name]) / statistics.median(seen['grid']):.3f}; round by "
            f"round [{min(pairs):.3f}, {max(pairs):.3f}]"
        )
    judged = {key(point.setting): point.judged_ms for point in points}
    reference = best_of(points).judged_ms
    lucky = min(points, key=lambda point: point.p95_ms[0])
    print(
        f"  measured anew, over the grid's best ({reference:.2f} ms): tuner {judged[key(choice(report))] / reference:.2f}, "
        f"baseline {judged[key({})] / reference:.2f}, lowest of {len(points)} single runs {lucky.judged_ms / reference:.2f}"
    )
    for name, kind in SEARCHES.items():
        values = sorted(judged[key(searched(points, kind, seed))] / reference for seed in range(REPETITIONS))
        near = sum(value <= NEAR for value in values)
        print(
            f"    {name}, {LIVE_RUNS} live runs, {REPETITIONS} times: median {statistics.median(values):.2f} "
            f"[{values[0]:.2f}, {values[-1]:.2f}], within 5 %: {near}"
        )


def write(name: str, content: object) -> None:
    """Keep a result."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_bytes(msgspec.json.encode(content))


def read_final(load: Load) -> dict[str, list[float]]:
    """The contestants' values."""
    found: dict[str, list[float]] = json.loads((FOLDER / f"{load.name}-final.json").read_text())
    return found


def read_grid(load: Load) -> list[Point]:
    """The measured grid."""
    return msgspec.json.decode((FOLDER / f"{load.name}-grid.json").read_bytes(), type=list[Point])


def read_tune(load: Load) -> TuneReport:
    """The tuner's report."""
    return read_report((FOLDER / f"{load.name}-tune.json").read_bytes())


def main() -> int:
    """One part, for each load."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("grid", "tune", "again", "final", "show"))
    parser.add_argument("--loads", nargs="+", default=[load.name for load in LOADS])
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    print(machine())
    for load in LOADS:
        if load.name not in options.loads:
            continue
        match options.part:
            case "grid":
                grid(load, options.seconds or 1.2)
            case "tune":
                tune(load, options.seconds or 3.0)
            case "again":
                again(load, options.seconds or 1.2, options.rounds or 2)
            case "final":
                final(load, options.seconds or 3.0, options.rounds or 5)
            case _:
                show(load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
