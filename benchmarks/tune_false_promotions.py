"""How often "better" is declared when baseline and candidate are the same setting, and how surely a gain is found.

    python benchmarks/tune_false_promotions.py [--repetitions 200] [--run-sd 0.08] [--drift-sd 0.06] [--outliers 0.05]
    python benchmarks/tune_false_promotions.py --intervals [--repetitions 300]

Simulated runs (`tests/machine_noise.py`): noise from run to run, drift over tens of seconds, outliers. `A/B` is
`AbTest` alone, up to 30 blocks, looked at after each; `tune` first lets `Elimination` choose among four
candidates (10 runs, predictions that err by 10 %) and then tests the chosen one against the baseline. Without a gain all
candidates are the baseline; with one, three are and one has the gain. The first 40 repetitions are the figure that is
promised, the rest checks it. Controls: one run each and the faster wins by 5 % or more; Student's t at 95 % after each block.

`--intervals` compares always-valid intervals: `covers` at every look from 6 to 30 blocks, half width in log units (median)
after so many blocks, `power` for a gain of 10 %, blocks until decided.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from math import log

import numpy as np
from load import ROOT, machine

from paceline.tune.statistics.always_valid import AbTest, always_valid
from paceline.tune.statistics.elimination import Elimination

sys.path.append(str(ROOT / "tests"))
from machine_noise import MEASURED, QUIET, ROUGH, MachineNoise

BLOCKS = 30
FIRST = 6
GAINS = (0.0, 0.05, 0.10, 0.20, 0.30)
PROMISED = 40
T95 = (0, 12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, *[2.23] * 5, *[2.13] * 5, *[2.08] * 10)
"""Student's t at 97.5 % by degrees of freedom, as the control takes it."""
LOOKS = (8, 10, 15, 20, 30)
Limits = tuple[float, float]


def block(disturbance: Iterator[float], coin: bool, change: float) -> float:
    first, second = next(disturbance), next(disturbance)
    return change + (second - first if coin else first - second)


def ab(disturbance: Iterator[float], rng: np.random.Generator, change: float) -> tuple[str, int]:
    test = AbTest()
    outcome, done = "undecided", 0
    while outcome == "undecided" and done < BLOCKS:
        test.add(0.0, block(disturbance, rng.random() < 0.5, change))
        outcome = test.verdict().outcome
        done += 1
    return outcome, 2 * done


def tune(disturbance: Iterator[float], rng: np.random.Generator, change: float) -> tuple[str, int]:
    levels = np.array([0.0, 0.0, change, 0.0])
    elimination = Elimination(list(levels + rng.normal(0.0, 0.1, 4)))
    runs = 0
    while (candidate := elimination.next()) is not None:
        elimination.observe(candidate, levels[candidate] + next(disturbance))
        runs += 1
    outcome, more = ab(disturbance, rng, levels[elimination.standing()[0].candidate])
    return outcome, runs + more


def one_run_each(disturbance: Iterator[float], _rng: np.random.Generator, change: float) -> tuple[str, int]:
    return ("better" if change + next(disturbance) - next(disturbance) < log(0.95) else "undecided"), 2


def repeated_t(disturbance: Iterator[float], rng: np.random.Generator, change: float) -> tuple[str, int]:
    seen: list[float] = []
    for done in range(1, BLOCKS + 1):
        seen.append(block(disturbance, rng.random() < 0.5, change))
        if done >= FIRST and np.mean(seen) + T95[done - 1] * np.std(seen, ddof=1) / np.sqrt(done) < 0:
            return "better", 2 * done
    return "undecided", 2 * BLOCKS


METHODS = {"one run each": one_run_each, "repeated t": repeated_t, "A/B": ab, "tune": tune}


def promotions(noise: MachineNoise, repetitions: int, seed: int) -> None:
    print("| method | gain % | better of first 40 | better % | worse % | equivalent % | runs |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, method in METHODS.items():
        for gain in GAINS:
            outcomes, runs = [], []
            for repetition in range(repetitions):
                rng = np.random.default_rng([seed, repetition])
                disturbance = iter(noise.runs(rng, 10 + 2 * BLOCKS).tolist())
                outcome, took = method(disturbance, rng, log(1.0 - gain))
                outcomes.append(outcome)
                runs.append(took)
            share = {
                each: 100 * outcomes.count(each) / repetitions for each in ("better", "worse", "equivalent")
            }
            print(
                f"| {name} | {100 * gain:g} | {outcomes[:PROMISED].count('better')} | {share['better']:.1f} |"
                f" {share['worse']:.1f} | {share['equivalent']:.1f} | {np.mean(runs):.1f} |",
                flush=True,
            )


def student_mixture(seen: np.ndarray) -> Limits:
    """Normal mixture over the standardised change, variance 1 (Wang and Ramdas 2025)."""
    count = seen.size
    grown = 1 + count
    level = (grown / 0.05**2) ** (1 / count)
    if level >= grown:
        return -np.inf, np.inf
    reach = np.sqrt((count - 1) * (level - 1) / (1 - level / grown)) * seen.std(ddof=1) / np.sqrt(count)
    return seen.mean() - reach, seen.mean() + reach


PLACES = np.linspace(-2.0, 2.0, 1601)


def self_normalised(seen: np.ndarray) -> Limits:
    """Normal mixture over exp(l s - l^2 v / 2) for symmetric differences (de la Pena 1999), scale 6."""
    left = seen[:, None] - PLACES
    total, squares = left.sum(axis=0), (left**2).sum(axis=0)
    stake = -0.5 * np.log1p(36 * squares) + 36 * total**2 / (2 * (1 + 36 * squares))
    held = np.flatnonzero(stake < log(20))
    low, high = PLACES[held[0]], PLACES[held[-1]]
    return (-np.inf if held[0] == 0 else low), (np.inf if held[-1] == PLACES.size - 1 else high)


def empirical_bernstein(seen: np.ndarray) -> Limits:
    """Predictable plug-in (Waudby-Smith and Ramdas 2024) for differences cut to a factor of 2."""
    bound = log(2)
    share = (np.clip(seen, -bound, bound) + bound) / (2 * bound)
    number = np.arange(1, seen.size + 1)
    means = (0.5 + np.cumsum(share)) / (number + 1)
    before = np.concatenate([[0.5], means[:-1]])
    spread = (0.01 + np.concatenate([[0.0], np.cumsum((share - means) ** 2)[:-1]])) / number
    bets = np.minimum(np.sqrt(2 * log(40) / (spread * number * np.log1p(number))), 0.75)
    paid = np.sum((share - before) ** 2 * (-np.log1p(-bets) - bets))
    middle, reach = np.sum(bets * share) / np.sum(bets), (log(40) + paid) / np.sum(bets)
    return (middle - reach) * 2 * bound - bound, (middle + reach) * 2 * bound - bound


INTERVALS: dict[str, Callable[[np.ndarray], Limits]] = {
    "coin bet (ours)": always_valid,
    "Student mixture": student_mixture,
    "self-normalised": self_normalised,
    "empirical Bernstein": empirical_bernstein,
}


def intervals(repetitions: int, seed: int) -> None:
    head = " | ".join(f"half {blocks}" for blocks in LOOKS)
    print(f"| noise | interval | covers % | {head} | power % | blocks |")
    print("| --- | --- | ---: |" + " ---: |" * (len(LOOKS) + 2))
    change = log(0.9)
    for noise_name, noise in {"quiet": QUIET, "measured": MEASURED, "rough": ROUGH}.items():
        for name, interval in INTERVALS.items():
            limits = np.empty((repetitions, BLOCKS - FIRST + 1, 2))
            for repetition in range(repetitions):
                rng = np.random.default_rng([seed, repetition])
                disturbance = iter(noise.runs(rng, 2 * BLOCKS).tolist())
                seen = np.array([block(disturbance, rng.random() < 0.5, change) for _ in range(BLOCKS)])
                limits[repetition] = [interval(seen[:blocks]) for blocks in range(FIRST, BLOCKS + 1)]
            low, high = limits[..., 0], limits[..., 1]
            covers = ((low <= change) & (change <= high)).all(axis=1).mean()
            half = np.median((high - low) / 2, axis=0)
            found = high < 0
            blocks = np.where(found.any(axis=1), found.argmax(axis=1) + FIRST, BLOCKS)
            widths = " | ".join(f"{half[look - FIRST]:.3f}" for look in LOOKS)
            print(
                f"| {noise_name} | {name} | {100 * covers:.1f} | {widths} |"
                f" {100 * found.any(axis=1).mean():.1f} | {blocks.mean():.1f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--run-sd", type=float, default=MachineNoise.run_sd)
    parser.add_argument("--drift-sd", type=float, default=MachineNoise.drift_sd)
    parser.add_argument("--drift-s", type=float, default=MachineNoise.drift_s)
    parser.add_argument("--run-s", type=float, default=MachineNoise.run_s)
    parser.add_argument("--outliers", type=float, default=MachineNoise.outlier_share)
    parser.add_argument("--intervals", action="store_true", help="compare always-valid intervals instead")
    args = parser.parse_args()
    print(machine())
    if args.intervals:
        intervals(args.repetitions, args.seed)
        return
    noise = MachineNoise(args.run_sd, args.drift_sd, args.drift_s, args.run_s, args.outliers)
    print(f"{noise}\n")
    promotions(noise, args.repetitions, args.seed)


if __name__ == "__main__":
    main()
