"""Does a nominal 95 % interval hold the truth? Ours beside the one for independent samples that load testers print.

    python benchmarks/interval_coverage.py [--repetitions 300] [--seed 1]

Queues with known answers (Poisson arrivals, one server; `tests/queues.py`), every repetition a run of its own. `covers`
counts the runs that print an interval; `prints` is their share (the others say that the samples are too few); `wrong` is
the share of all runs that print an interval without the truth in it, 5 % at best. `width` is the mean width over
that of the independent-samples interval: 1 is as narrow as independent samples allow.
"""

from __future__ import annotations

import argparse
import sys
import time
from math import log, sqrt
from statistics import fmean, stdev

import numpy as np
from load import ROOT, machine

from paceline.measure.statistics.interval import Interval, mean_interval, quantile_interval
from paceline.measure.statistics.warmup import mser5

sys.path.append(str(ROOT / "tests"))
from queues import response_times, true_mean, true_quantile

SKIP = 3_000
"""Requests before the first sample, where a run starts in steady state."""
Limits = tuple[float, float]


def independent(values: list[float], q: float | None) -> Limits:
    """Binomial order statistics, or mean +- 1.96 s / sqrt(n): the control."""
    count = len(values)
    if q is None:
        reach = 1.96 * stdev(values) / sqrt(count)
        return fmean(values) - reach, fmean(values) + reach
    ordered = sorted(values)
    reach = 1.96 * sqrt(q * (1 - q) / count)
    last = count - 1
    return ordered[max(0, int(last * (q - reach)))], ordered[min(last, int(last * (q + reach)) + 1)]


def truth_of(utilisation: float, service: str, q: float | None) -> float:
    if not utilisation:
        return 1.0 if q is None else -log(1 - q)
    return true_mean(utilisation, service) if q is None else true_quantile(utilisation, q, service)


def runs_of(
    args: argparse.Namespace, utilisation: float, service: str, samples: int, start: str
) -> np.ndarray:
    if not utilisation:
        return np.random.default_rng(args.seed).standard_exponential((args.repetitions, samples))
    return response_times(
        utilisation,
        samples=samples,
        repetitions=args.repetitions,
        service=service,
        seed=args.seed,
        skip=SKIP if start == "steady" else 0,
    )


def row(runs: np.ndarray, truth: float, q: float | None, start: str) -> str:
    """One line of the table."""
    ours: list[Interval] = []
    theirs: list[Limits] = []
    for values in runs.tolist():
        kept = values[mser5(values) :] if start == "empty" else values
        ours.append(mean_interval(kept) if q is None else quantile_interval(kept, q))
        theirs.append(independent(kept, q))
    printed = [index for index, interval in enumerate(ours) if interval.low is not None]
    covered = sum(ours[index].low <= truth <= ours[index].high for index in printed)
    control = sum(low <= truth <= high for low, high in theirs) / len(theirs)
    share = covered / len(printed) if printed else float("nan")
    wide = sum(ours[i].high - ours[i].low for i in printed)
    narrow = sum(theirs[i][1] - theirs[i][0] for i in printed)
    width = wide / narrow if printed else float("nan")
    effective = np.median([interval.effective for interval in ours])
    return (
        f"{share:7.1%} {len(printed) / len(ours):7.0%} {(len(printed) - covered) / len(ours):7.1%}"
        f" {control:12.1%} {width:7.2f} {effective:10,.0f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    cases = [(0.0, "independent", samples, "steady") for samples in (16_000, 4_000)]
    cases += [
        (load, "exponential", 16_000, start) for start in ("steady", "empty") for load in (0.3, 0.5, 0.7, 0.8)
    ]
    cases += [
        (load, service, 16_000, "steady") for service in ("lognormal", "bimodal") for load in (0.5, 0.8)
    ]
    cases += [(load, "exponential", 4_000, "steady") for load in (0.3, 0.5, 0.7, 0.8)]
    print(f"{machine()}; {args.repetitions} repetitions, nominal 95 %\n")
    print(
        f"{'samples':>7} {'load':>4} {'service':<12} {'start':<6} {'of':<5}"
        f"{'covers':>7} {'prints':>7} {'wrong':>7} {'independent':>12} {'width':>7} {'effective':>10}"
    )
    began = time.perf_counter()
    for load, service, samples, start in cases:
        runs = runs_of(args, load, service, samples, start)
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("mean", None)):
            line = row(runs, truth_of(load, service, q), q, start)
            print(f"{samples:>7} {load:>4} {service:<12} {start:<6} {name:<5}{line}", flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
