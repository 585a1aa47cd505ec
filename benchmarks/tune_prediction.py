"""Predicted p95 beside measured p95, of settings that no calibration ran.

    python benchmarks/tune_prediction.py [--loads steady bursty cache-heavy] [--seconds 3] [--settings 24] [--runs 2]

The tuner's own calibration on a fresh server, then settings spread evenly over the logarithm of the predicted p95 among
all below 80 % utilisation, measured in random order, `runs` times each. "Interval covers" counts single runs, as the
interval is one of a single run. Two runs of one setting differ by the noise that no prediction can know.
"""

from __future__ import annotations

import argparse
import random
import sys

import numpy as np
from load import machine
from tune_plant import LOADS, Load, bench_of

from paceline.tune.calibration import Calibrator
from paceline.tune.journal import Journal
from paceline.tune.setting import Setting, key, label
from paceline.tune.simulator import Expected, interval
from paceline.tune.watcher import Silence

BELOW = 0.8


def chosen(expected: list[Expected], used: list[float], count: int) -> list[tuple[Expected, float]]:
    """Settings at even steps of log p95, from the fastest to the slowest below `BELOW`."""
    below = [(one, share) for one, share in zip(expected, used, strict=True) if share < BELOW and one.setting]
    below.sort(key=lambda pair: pair[0].p95_log[0])
    logs = np.array([one.p95_log[0] for one, _ in below])
    found: dict[object, tuple[Expected, float]] = {}
    for want in np.linspace(logs[0], logs[-1], count * 4):
        order = np.argsort(np.abs(logs - want))
        place = next((int(at) for at in order if key(below[int(at)][0].setting) not in found), None)
        if place is not None and abs(logs[place] - want) < (logs[-1] - logs[0]) / count:
            found.setdefault(key(below[place][0].setting), below[place])
    rows = sorted(found.values(), key=lambda pair: pair[0].p95_log[0])
    return [rows[round(at)] for at in np.linspace(0, len(rows) - 1, min(count, len(rows)))]


def run(load: Load, seconds: float, count: int, runs: int) -> None:
    """One load."""
    with bench_of(load, seconds) as (bench, order, _):
        bench.run({})
        journal = Journal(bench, order, Silence())
        first = journal.live("baseline", {})
        simulator = Calibrator(bench, order, journal, Silence(), first, bench.trace()).run()
        calibration = journal.found["calibration"]
        ran = {key(trial.setting) for trial in journal.trials}
        settings: list[Setting] = [one for one in order.space.settings() if key(one) not in ran]
        expected = simulator.expect(settings, order.goal)
        used = simulator.utilisation(settings)
        rows = chosen(expected, used, count)
        measured: dict[object, list[float]] = {key(one.setting): [] for one, _ in rows}
        for number in range(runs):
            turn = list(rows)
            random.Random(number).shuffle(turn)
            for one, _ in turn:
                measured[key(one.setting)].append(bench.run(one.setting).observation.p_of_all(0.95))
    table = np.array([measured[key(one.setting)] for one, _ in rows])
    ranges = [interval(one, share) for one, share in rows]
    predicted = np.array([one.value for one in ranges], dtype=float)
    low, high = (
        np.array([getattr(one, end) for one in ranges], dtype=float)[:, None] for end in ("low", "high")
    )
    error = np.abs(predicted / np.exp(np.log(table).mean(axis=1)) - 1.0)
    ranks = [
        np.argsort(np.argsort(values)).astype(float) for values in (predicted, np.log(table).mean(axis=1))
    ]
    print(
        f"\n{load.name}: {load.rate:g}/s, {len(rows)} settings, {runs} runs each; fit of {calibration.batches} batches"
    )
    for (one, share), values, limits in zip(rows, table, ranges, strict=True):
        print(
            f"  {label(one.setting):<60} {100 * share:3.0f} %  predicted {limits.value:6.1f} [{limits.low:.1f}, {limits.high:.1f}]"
            f"  measured {' '.join(f'{value:.1f}' for value in values)}"
        )
    print(
        f"  median error {100 * np.median(error):.1f} % (90 % within {100 * np.quantile(error, 0.9):.0f} %), rank correlation "
        f"{np.corrcoef(*ranks)[0, 1]:.3f}, interval covers {100 * ((low <= table) & (table <= high)).mean():.0f} %; two runs of "
        f"one setting differ by {100 * float(np.median(np.abs(np.diff(np.log(table), axis=1)))):.0f} % (median)"
    )
    saturated = sum(interval(one, share).value is None for one, share in zip(expected, used, strict=True))
    print(f"  {saturated} of {len(expected)} settings are called saturated, without a number")


def main() -> int:
    """All loads."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loads", nargs="+", default=[load.name for load in LOADS])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--settings", type=int, default=24)
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    print(machine())
    for load in LOADS:
        if load.name in options.loads:
            run(load, options.seconds, options.settings, options.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
