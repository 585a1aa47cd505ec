"""Which of four candidates to keep after at most ten runs: ours, and what is usually done instead.

    python benchmarks/tune_selection.py [--repetitions 1000] [--seed 1] [--run-sd 0.08] [--drift-sd 0.06]

Simulated runs (`tests/machine_noise.py`): noise from run to run, drift over tens of seconds, outliers. The true log
scores of the candidates lie 0 to 30 % apart (uniform); a prediction errs by 10 %. `good` is the share of repetitions
that choose a setting within 5 % of the best, `loss` how much the chosen one is worse than the best on average, `runs`
what it took. Controls: one run each; ten runs spread evenly; successive halving (4 x 1, then 2 x 3, means);
the best prediction without any run. `ours, no predictions` knows as little as the controls.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np
from load import ROOT, machine

from paceline.tune.statistics.elimination import Elimination

sys.path.append(str(ROOT / "tests"))
from machine_noise import MachineNoise

CANDIDATES = 4
RUNS = 10
PREDICTION_SD = 0.10
Measure = Callable[[int], float]
Chosen = tuple[int, int]
"""The candidate and the runs it took."""


def predicted(predictions: np.ndarray, _measure: Measure) -> Chosen:
    return int(predictions.argmin()), 0


def one_run_each(_predictions: np.ndarray, measure: Measure) -> Chosen:
    return int(np.argmin([measure(candidate) for candidate in range(CANDIDATES)])), CANDIDATES


def evenly(_predictions: np.ndarray, measure: Measure) -> Chosen:
    scores = [[] for _ in range(CANDIDATES)]
    for run in range(RUNS):
        scores[run % CANDIDATES].append(measure(run % CANDIDATES))
    return int(np.argmin([np.mean(each) for each in scores])), RUNS


def halving(_predictions: np.ndarray, measure: Measure) -> Chosen:
    scores = [[measure(candidate)] for candidate in range(CANDIDATES)]
    best = np.argsort([each[0] for each in scores])[:2]
    for _ in range(3):
        for candidate in best:
            scores[candidate].append(measure(int(candidate)))
    return int(min(best, key=lambda candidate: np.mean(scores[candidate]))), RUNS


def ours(predictions: np.ndarray, measure: Measure) -> Chosen:
    return chosen_by(Elimination(list(predictions), max_runs=RUNS), measure)


def ours_unpredicted(_predictions: np.ndarray, measure: Measure) -> Chosen:
    return chosen_by(Elimination(CANDIDATES, max_runs=RUNS), measure)


def chosen_by(elimination: Elimination, measure: Measure) -> Chosen:
    runs = 0
    while (candidate := elimination.next()) is not None:
        elimination.observe(candidate, measure(candidate))
        runs += 1
    return elimination.standing()[0].candidate, runs


METHODS = {
    "best prediction": predicted,
    "one run each": one_run_each,
    "ten runs, evenly": evenly,
    "successive halving": halving,
    "ours, no predictions": ours_unpredicted,
    "ours": ours,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--run-sd", type=float, default=MachineNoise.run_sd)
    parser.add_argument("--drift-sd", type=float, default=MachineNoise.drift_sd)
    parser.add_argument("--outliers", type=float, default=MachineNoise.outlier_share)
    args = parser.parse_args()
    noise = MachineNoise(run_sd=args.run_sd, drift_sd=args.drift_sd, outlier_share=args.outliers)
    print(f"{machine()}\n{noise}\n")
    print("| method | good % | loss % | runs |\n| --- | ---: | ---: | ---: |")
    for name, method in METHODS.items():
        good, loss, runs = [], [], []
        for repetition in range(args.repetitions):
            rng = np.random.default_rng([args.seed, repetition])
            levels = rng.uniform(0.0, np.log(1.3), CANDIDATES)
            predictions = levels + PREDICTION_SD * rng.standard_normal(CANDIDATES)
            disturbance = iter(noise.runs(rng, RUNS))
            chosen, took = method(
                predictions, lambda candidate, d=disturbance, t=levels: t[candidate] + next(d)
            )
            excess = np.exp(levels[chosen] - levels.min()) - 1
            good.append(excess <= 0.05)
            loss.append(excess)
            runs.append(took)
        print(
            f"| {name} | {100 * np.mean(good):.1f} | {100 * np.mean(loss):.1f} | {np.mean(runs):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
