"""Search without a model of the server: Optuna proposes, live runs answer.

    while (setting := search.propose()) is not None:
        search.tell(setting, score)            # or, for one that died: search.tell(setting, None)
    finalists = search.best(3)

A score is a cost: less is better. A violation above 0 says by how much a setting breaks a rule, such as an objective
or an error limit; how it is measured is the caller's choice, as long as it is the same for all. A setting without a
score (it died, or did not start) is the worst of all.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from paceline.base.errors import ConfigError
from paceline.tune.knob import Knob, same
from paceline.tune.setting import Key, Setting, Value, key

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

REPEATS = 32
"""Proposals of something already tried before the search takes any that was not."""


class Search(Protocol):
    """What chooses the next setting to run."""

    def propose(self) -> Setting | None:
        """The next setting to run, never one proposed or told before; None when budget or settings are used up."""

    def tell(self, setting: Setting, score: float | None, violation: float = 0.0) -> None:
        """What a run showed, of a proposed setting or of any other, such as the baseline `{}`."""

    def best(self, count: int) -> list[Setting]:
        """The feasible settings of least score, best first; the baseline is among them when it was told."""

    def closest(self) -> Setting | None:
        """The setting with a score and the least violation; None when none has a score."""


class Outcome(msgspec.Struct, frozen=True):
    """A setting and what its last run showed."""

    setting: Setting
    score: float | None
    violation: float

    @property
    def feasible(self) -> bool:
        """Whether it may be chosen."""
        return self.score is not None and self.violation <= 0


class Tried:
    """What was proposed and told, and how many proposals are left. The baseline is never proposed."""

    def __init__(self, knobs: Sequence[Knob], budget: int) -> None:
        self._knobs = knobs
        self._left = budget
        self._room = math.prod(knob.count() for knob in knobs)
        self._seen: set[Key] = {()}
        self._outcomes: dict[Key, Outcome] = {}

    def exhausted(self) -> bool:
        """Whether the budget is used up, or nothing is left that was not seen."""
        return self._left <= 0 or len(self._seen) >= self._room

    def setting(self, values: Sequence[Value]) -> Setting:
        """The setting of one value a knob."""
        return {
            knob.name: value
            for knob, value in zip(self._knobs, values, strict=True)
            if value != knob.baseline or isinstance(value, bool) != isinstance(knob.baseline, bool)
        }

    def is_new(self, setting: Setting) -> bool:
        """Whether it was neither proposed nor told."""
        return key(setting) not in self._seen

    def take(self, setting: Setting) -> Setting:
        """Spend one proposal on it."""
        assert self.is_new(setting)
        assert not self.exhausted()
        self._left -= 1
        self._seen.add(key(setting))
        return setting

    def record(self, setting: Setting, score: float | None, violation: float) -> None:
        """Keep an outcome; a later one of the same setting takes its place."""
        assert score is None or math.isfinite(score)
        self._seen.add(key(setting))
        self._outcomes[key(setting)] = Outcome(dict(setting), score, violation)

    def any_new(self, chance: random.Random) -> Setting:
        """A setting not seen yet, by chance; the first in order when chance finds none."""
        for _ in range(REPEATS):
            setting = self.setting([_draw(knob, chance) for knob in self._knobs])
            if self.is_new(setting):
                return setting
        ordered = itertools.product(*(_values(knob) for knob in self._knobs))
        return next(setting for setting in map(self.setting, ordered) if self.is_new(setting))

    def best(self, count: int) -> list[Setting]:
        """As `Search.best`."""
        feasible = [outcome for outcome in self._outcomes.values() if outcome.feasible]
        return [outcome.setting for outcome in sorted(feasible, key=lambda o: o.score or 0.0)[:count]]

    def closest(self) -> Setting | None:
        """As `Search.closest`."""
        scored = [outcome for outcome in self._outcomes.values() if outcome.score is not None]
        return min(scored, key=lambda o: (o.violation, o.score)).setting if scored else None

    def worst_score(self) -> float:
        """The highest score so far; 0 when there is none."""
        return max((o.score for o in self._outcomes.values() if o.score is not None), default=0.0)


class RandomSearch:
    """Every setting with the same chance: what a search has to beat."""

    def __init__(self, knobs: Sequence[Knob], budget: int, seed: int = 0) -> None:
        self._tried = Tried(knobs, budget)
        self._chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self.best = self._tried.best
        self.closest = self._tried.closest

    def propose(self) -> Setting | None:
        """As `Search.propose`."""
        return None if self._tried.exhausted() else self._tried.take(self._tried.any_new(self._chance))

    def tell(self, setting: Setting, score: float | None, violation: float = 0.0) -> None:
        """As `Search.tell`."""
        self._tried.record(setting, score, violation)


class BlackBoxSearch:
    """Optuna's tree-structured Parzen estimator over the knobs. Raises ConfigError when Optuna is not installed.

    `first_by_chance`: proposals before the estimator has enough to go by; a quarter of the budget, at least 3 and
    at most 10, when it is left out.
    """

    def __init__(
        self, knobs: Sequence[Knob], budget: int, seed: int = 0, *, first_by_chance: int | None = None
    ) -> None:
        try:
            import optuna  # noqa: PLC0415 - an extra: only who searches blindly needs it
        except ImportError as error:
            raise ConfigError(
                "tuning a launched server needs Optuna, which is not installed: pip install 'paceline[tune]'"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if first_by_chance is None:
            first_by_chance = min(max(budget // 4, 3), 10)
        self._optuna = optuna
        self._study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(n_startup_trials=first_by_chance, seed=seed)
        )
        self._knobs = knobs
        self._tried = Tried(knobs, budget)
        self._chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self._asked: dict[Key, Trial] = {}
        self.best = self._tried.best
        self.closest = self._tried.closest

    def propose(self) -> Setting | None:
        """As `Search.propose`."""
        if self._tried.exhausted():
            return None
        for _ in range(REPEATS):
            trial = self._study.ask({knob.name: self._distribution(knob) for knob in self._knobs})
            setting = self._tried.setting(
                [_of_parameter(knob, trial.params[knob.name]) for knob in self._knobs]
            )
            if self._tried.is_new(setting):
                self._asked[key(setting)] = trial
                return self._tried.take(setting)
            # Told as failed it teaches nothing, which is right: its outcome is known already.
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        return self._tried.take(self._tried.any_new(self._chance))

    def tell(self, setting: Setting, score: float | None, violation: float = 0.0) -> None:
        """As `Search.tell`."""
        self._tried.record(setting, score, violation)
        if score is None:  # Optuna orders what breaks a rule by how much, and does not look at its value
            score, violation = self._tried.worst_score(), math.inf
        trial = self._asked.pop(key(setting), None)
        if trial is not None:
            trial.set_constraint("violation", violation)
            self._study.tell(trial, score)
            return
        values = {knob.name: setting.get(knob.name, knob.baseline) for knob in self._knobs}
        self._study.add_trial(
            self._optuna.trial.create_trial(
                value=score,
                params={knob.name: _parameter(knob, values[knob.name]) for knob in self._knobs},
                distributions={knob.name: self._distribution(knob) for knob in self._knobs},
                constraints={"violation": violation},
            )
        )

    def _distribution(self, knob: Knob) -> BaseDistribution:
        from optuna.distributions import (  # noqa: PLC0415 - see __init__
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        log = knob.scale == "log"
        if not knob.values:
            if knob.integer:
                return IntDistribution(int(knob.low), int(knob.high), log=log)
            return FloatDistribution(knob.low, knob.high, log=log)
        if _ordered(knob):
            return IntDistribution(0, len(knob.choices) - 1)
        return CategoricalDistribution(range(len(knob.choices)))


def _ordered(knob: Knob) -> bool:
    """Whether its values are numbers, so that near ones behave alike."""
    return not any(isinstance(value, bool | str) for value in knob.choices)


def _choices(knob: Knob) -> Sequence[Value]:
    return sorted(knob.choices, key=float) if _ordered(knob) else knob.choices


def _of_parameter(knob: Knob, parameter: float) -> Value:
    """The value that Optuna's number stands for: the place of a choice, or a number of the range."""
    return _choices(knob)[int(parameter)] if knob.values else knob.rounded(parameter)


def _parameter(knob: Knob, value: Value) -> float:
    """The inverse of `_of_parameter`."""
    if not knob.values:
        return float(value)
    return next(place for place, known in enumerate(_choices(knob)) if same(known, value))


def _draw(knob: Knob, chance: random.Random) -> Value:
    if knob.values:
        return chance.choice(knob.choices)
    if knob.scale == "linear":
        return (
            chance.randint(int(knob.low), int(knob.high))
            if knob.integer
            else knob.rounded(chance.uniform(knob.low, knob.high))
        )
    # Half a step beyond the bounds, so that the first and the last integer get their share.
    margin = 0.5 if knob.integer else 0.0
    drawn = math.exp(chance.uniform(math.log(knob.low - margin), math.log(knob.high + margin)))
    return knob.rounded(min(max(drawn, knob.low), knob.high))


def _values(knob: Knob) -> Sequence[Value]:
    """All its values; of a range of real numbers, where chance never fails, only the bounds."""
    if knob.values:
        return knob.choices
    return range(int(knob.low), int(knob.high) + 1) if knob.integer else (knob.low, knob.high)
