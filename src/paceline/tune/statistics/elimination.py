"""Which of a few candidates is the best, from at most ten noisy runs.

Candidates run in interleaved rounds, each round a block whose drift its runs share, the order turned round in every
second one (A B C, C B A, B C A, ...). After a round the posterior of `posterior.py` drops who is clearly worse than the
leader, and the runs saved go to those that are left. This is Bayesian ranking and selection with sequential
elimination: selection by posterior mean and stopping at a probability of good selection as in Chick and Inoue 2001 and
Branke, Chick and Schmidt 2007, on log scores with rounds as blocks.

Guarantee: whoever is dropped has, at that time, at most a chance of `1 - confidence` to be better than the leader, so
of k candidates at most (k - 1) * (1 - confidence) are dropped wrongly on average, and whoever is chosen early is with
`confidence` within `margin` of the best that is left. It holds as far as the noise and the uncertainty of the
predictions are as stated; posterior chances do not change by being looked at. Simulated (`benchmarks/tune_selection.py`),
the best of four is dropped in 4 to 5 of 100 tunes. That the choice beats the baseline is not promised here: that is the
task of the A/B test that follows (`always_valid.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite
from statistics import median

import msgspec
import numpy as np

from paceline.base.errors import ConfigError
from paceline.tune.statistics.posterior import Posterior, Run
from paceline.tune.statistics.run_noise import RunNoise

MAX_RUNS = 10
MARGIN = 0.02
CONFIDENCE = 0.95
UNCERTAINTY = 0.15
"""Of a prediction, relative to the others of the same tune."""
_MISSES = 2
"""Runs that must all miss the objectives before a candidate is dropped for it; one may be an outlier."""
_DIED = "the run failed"


class Standing(msgspec.Struct, frozen=True):
    """A candidate after the runs so far."""

    candidate: int
    runs: int
    log_score: float | None
    """Expected, from prediction and runs; None when its last run failed altogether."""
    best: float
    """Chance to be the best of those still in."""
    violation: float
    """The median of its runs; 0 without runs."""
    dropped: str | None = None
    """Why it is out; None while it is in."""


class Elimination:
    """Asks for runs with `next`, is told with `observe`, and names the best at any time with `standing()[0]`."""

    def __init__(  # noqa: PLR0913 - what is known beforehand, and what is asked
        self,
        predicted: Sequence[float] | int,
        uncertainty: Sequence[float] | float = UNCERTAINTY,
        *,
        margin: float = MARGIN,
        max_runs: int = MAX_RUNS,
        noise: RunNoise | None = None,
        confidence: float = CONFIDENCE,
    ) -> None:
        """`predicted` are log scores, smaller is better, or just how many candidates there are when nothing is known.

        Raises ConfigError without candidates and when `max_runs` does not let each of them run.
        """
        known = not isinstance(predicted, int)
        self._predicted = list(predicted) if not isinstance(predicted, int) else [0.0] * predicted
        count = len(self._predicted)
        if count < 1 or max_runs < count:
            raise ConfigError(
                f"max_runs {max_runs} for {count} candidates: verify at least one, and let each run once",
                param="max_runs",
            )
        spread = uncertainty if known else 1.0
        self._uncertainty = [float(spread)] * count if isinstance(spread, int | float) else list(spread)
        if len(self._uncertainty) != count or not all(
            isfinite(each) and each > 0 for each in self._uncertainty
        ):
            raise ConfigError(
                f"uncertainty {self._uncertainty}: one number above 0 for each of the {count} candidates",
                param="uncertainty",
            )
        self._margin, self._max_runs, self._confidence = margin, max_runs, confidence
        self._noise = noise or RunNoise()
        self._runs: list[Run] = []
        self._violations: list[list[float]] = [[] for _ in range(count)]
        self._spent = 0
        self._round = 0
        self._dropped: dict[int, str] = {}
        self._posterior = Posterior([], self._predicted, self._uncertainty, self._noise)
        self._queue = self._order()
        self.ended: str | None = None
        """Why no more runs are needed; None while they are."""
        self._decide()

    def next(self) -> int | None:
        """The candidate to run now; the same one until it was observed, None at the end."""
        return None if self.ended else self._queue[0]

    def observe(self, candidate: int, log_score: float, violation: float = 0.0) -> None:
        """Of the run that `next` asked for. An infinite score says that the run failed: the candidate is out.

        `violation` is 0 when the run held all objectives (`Goal.violation`). Raises ValueError for a run out of turn
        and for NaN.
        """
        if candidate != self.next() or log_score != log_score:  # noqa: PLR0124 - NaN
            message = f"observed candidate {candidate} with {log_score}, expected {self.next()} with a number"
            raise ValueError(message)
        self._queue.pop(0)
        self._spent += 1
        self._violations[candidate].append(violation)
        if isfinite(log_score):
            self._runs.append(Run(candidate, self._round, log_score))
        else:
            self._dropped[candidate] = _DIED
        if not self._queue or self._spent == self._max_runs:
            self._close_round()

    def standing(self) -> list[Standing]:
        """All candidates, the best first: those still in before dropped ones, feasible before infeasible."""
        left = self._left()
        chance = dict(zip(left, self._chances(left), strict=True))
        rows = [
            Standing(
                candidate,
                len(seen),
                None if self._dropped.get(candidate) == _DIED else float(self._posterior.mean[candidate]),
                chance.get(candidate, 0.0),
                median(seen) if seen else 0.0,
                self._dropped.get(candidate),
            )
            for candidate, seen in enumerate(self._violations)
        ]
        return sorted(
            rows,
            key=lambda row: (
                row.dropped is not None,
                row.violation,
                inf if row.log_score is None else row.log_score,
            ),
        )

    def _left(self) -> list[int]:
        return [candidate for candidate in range(len(self._predicted)) if candidate not in self._dropped]

    def _chances(self, left: list[int]) -> list[float]:
        """Of each to be the best of them."""
        if not left:
            return []
        levels = self._posterior.draws()[:, left]
        firsts = np.bincount(levels.argmin(axis=1), minlength=len(left))
        return [float(count) / len(levels) for count in firsts]

    def _order(self) -> list[int]:
        """Of the next round: forth, back, then rotated by one. A last round that is short is for the leaders."""
        left = sorted(self._left(), key=lambda candidate: self._posterior.mean[candidate])
        left = left[: self._max_runs - self._spent]
        turn = self._round // 2 % max(len(left), 1)
        order = sorted(left)
        order = order[turn:] + order[:turn]
        return order[::-1] if self._round % 2 else order

    def _close_round(self) -> None:
        self._posterior = Posterior(self._runs, self._predicted, self._uncertainty, self._noise)
        self._drop()
        self._round += 1
        self._queue = self._order()
        self._decide()

    def _drop(self) -> None:
        """Who misses objectives that another holds; then who is clearly worse than the leader."""
        left = self._left()
        holds = [candidate for candidate in left if not median(self._violations[candidate])]
        for candidate in left:
            seen = self._violations[candidate]
            if holds and len(seen) >= _MISSES and min(seen) > 0.0:
                self._dropped[candidate] = f"misses the objectives in {len(seen)} of {len(seen)} runs"
        left = [candidate for candidate in self._left() if not holds or candidate in holds]
        if not left:
            return
        levels = self._posterior.draws()
        leader = min(left, key=lambda candidate: self._posterior.mean[candidate])
        for candidate in self._left():
            chance = float(np.mean(levels[:, candidate] < levels[:, leader]))
            if candidate != leader and chance < 1.0 - self._confidence:
                self._dropped[candidate] = f"{100 * chance:.1f} % chance to be better than the leader"

    def _decide(self) -> None:
        left = self._left()
        if not left:
            self.ended = "every candidate failed"
        elif self._spent >= self._max_runs:
            self.ended = f"{self._max_runs} runs are used up"
        elif len(left) == 1 and self._spent and not self._missed_once(left[0]):
            self.ended = "one is left"
        elif self._spent and self._good_enough(left):
            self.ended = f"those left are within {100 * self._margin:g} %"

    def _missed_once(self, candidate: int) -> bool:
        """Whether its objectives hang on a run that may be an outlier."""
        seen = self._violations[candidate]
        return len(seen) < _MISSES and bool(seen) and min(seen) > 0.0

    def _good_enough(self, left: list[int]) -> bool:
        """Whether the leader is surely within the margin of the best left, and no objective is in question."""
        if any(max(self._violations[candidate]) > 0.0 for candidate in left):
            return False
        levels = self._posterior.draws()[:, left]
        leader = int(np.argmin(self._posterior.mean[left]))
        good = np.mean(levels[:, leader] <= levels.min(axis=1) + self._margin)
        return bool(good >= self._confidence)
