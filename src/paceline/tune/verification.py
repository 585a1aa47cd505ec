"""Verify: the best few settings of the search run live, on the same requests, until one is clearly the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, inf, isfinite, log

from paceline.base.errors import TrialFailed
from paceline.tune.goal import Goal
from paceline.tune.journal import Journal
from paceline.tune.report import Range, Standing
from paceline.tune.setting import Setting, key
from paceline.tune.simulator import Expected
from paceline.tune.statistics.elimination import Elimination

Believed = Mapping[object, Expected]
"""What the simulation expects, by the key of a setting; empty for a black box."""


class Verification:
    """Live runs of a few candidates. `expectation` gives what a run is predicted to show, for the report."""

    def __init__(
        self,
        journal: Journal,
        goal: Goal,
        believed: Believed,
        expectation: Callable[[Setting], Range | None],
    ) -> None:
        self._journal, self._goal, self._believed = journal, goal, believed
        self._expectation = expectation
        self.ended = ""
        """Why there were no more runs."""

    def run(self, candidates: Sequence[Setting], runs: int, speed: float) -> Setting | None:
        """The candidate that at most `runs` live runs prefer; None when none holds the SLO, or could be run."""
        candidates = list(candidates)[:runs]
        test = Elimination(self._log_scores(candidates), max_runs=runs)
        dropped: dict[int, int] = {}
        while (which := test.next()) is not None:
            score, violation = self._run(candidates[which], speed)
            test.observe(which, score, violation)
            for row in test.standing():
                if row.dropped:
                    dropped.setdefault(row.candidate, self._journal.runs)
        standing = test.standing()
        self._journal.found["standings"] = [
            Standing(
                setting=dict(candidates[row.candidate]),
                runs=row.runs,
                mean_score=self._unlogged(row.log_score),
                eliminated_after=dropped.get(row.candidate),
                because=row.dropped or ("best" if row is standing[0] else "not better than the best"),
            )
            for row in standing
        ]
        self.ended = test.ended or ""
        best = standing[0]
        # Under stress every setting may miss what it holds at the offered load: there the A/B decides.
        if best.dropped == "the run failed" or (best.violation > 0.0 and speed == 1.0):
            return None
        return candidates[best.candidate]

    def _run(self, setting: Setting, speed: float) -> tuple[float, float]:
        """Log score and violation of one live run."""
        try:
            seen = self._journal.live(
                "verify", setting, predicted=self._expectation(setting), speed=speed
            ).observation
        except TrialFailed:
            return inf, 1.0
        return self._goal.log_score(seen), self._goal.violation(self._goal.measured(seen))

    def _log_scores(self, candidates: Sequence[Setting]) -> list[float] | int:
        """Of the simulation, where there was one; else how many candidates there are."""
        known = [self._believed.get(key(setting)) for setting in candidates]
        if any(one is None or one.score == 0.0 for one in known):
            return len(candidates)
        sign = -1.0 if self._goal.aim == "throughput" else 1.0
        return [sign * log(abs(one.score)) for one in known if one is not None]

    def _unlogged(self, log_score: float | None) -> float | None:
        if log_score is None or not isfinite(log_score):
            return None
        return -exp(-log_score) if self._goal.aim == "throughput" else exp(log_score)
