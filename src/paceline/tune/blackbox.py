"""Search without a model of the server: Optuna proposes, live runs answer.

    while (setting := search.propose()) is not None:
        search.tell(setting, score)            # or, for one that died: search.tell(setting, None)
    finalists = search.best(3)

A score is a cost: less is better. A violation above 0 says by how much a setting breaks a rule, such as an objective
or an error limit; how it is measured is the caller's choice, as long as it is the same for all. A setting without a
score (it died, or did not start) is the worst of all.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from paceline.base.errors import ConfigError
from paceline.tune.knob import Knob, Space
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

    def __init__(self, space: Space, budget: int | None) -> None:
        self._space = space
        self._left = len(space) if budget is None else budget
        self._seen: set[Key] = {()}
        self._outcomes: dict[Key, Outcome] = {}

    def exhausted(self) -> bool:
        """Whether the budget is used up, or nothing is left that was not seen."""
        return self._left <= 0 or len(self._seen) >= len(self._space)

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
            setting = changes(self._space, [chance.choice(knob.choices) for knob in self._space.knobs])
            if self.is_new(setting):
                return setting
        return next(setting for setting in self._space.settings() if self.is_new(setting))

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

    def __init__(self, space: Space, *, budget: int | None = None, seed: int = 0) -> None:
        self._tried = Tried(space, budget)
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
    """Optuna's tree-structured Parzen estimator over a space. Raises ConfigError when Optuna is not installed.

    `budget`: proposals at most; without it, every setting once. `first_by_chance`: proposals before the estimator has
    enough to go by; without it a quarter of the budget, at least 3 and at most 10.
    """

    def __init__(
        self, space: Space, *, budget: int | None = None, seed: int = 0, first_by_chance: int | None = None
    ) -> None:
        try:
            import optuna  # noqa: PLC0415 - an extra: only who searches blindly needs it
        except ImportError as error:
            raise ConfigError(
                "a search without a model of the server needs Optuna, which is not installed: "
                "pip install 'paceline[tune]'"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if first_by_chance is None:
            first_by_chance = min(max((budget or 0) // 4, 3), 10)
        self._optuna = optuna
        self._study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(n_startup_trials=first_by_chance, seed=seed)
        )
        self._space = space
        self._scales = [_scale(knob) for knob in space.knobs]
        self._tried = Tried(space, budget)
        self._chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self._asked: dict[Key, Trial] = {}
        self.best = self._tried.best
        self.closest = self._tried.closest

    def propose(self) -> Setting | None:
        """As `Search.propose`."""
        if self._tried.exhausted():
            return None
        for _ in range(REPEATS):
            trial = self._study.ask(self._distributions())
            places = [trial.params[knob.name] for knob in self._space.knobs]
            setting = changes(
                self._space, [scale[place] for scale, place in zip(self._scales, places, strict=True)]
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
        values = self._space.full(setting)
        places = {
            knob.name: scale.index(values[knob.name])
            for knob, scale in zip(self._space.knobs, self._scales, strict=True)
        }
        self._study.add_trial(
            self._optuna.trial.create_trial(
                value=score,
                params=places,
                distributions=self._distributions(),
                constraints={"violation": violation},
            )
        )

    def _distributions(self) -> dict[str, BaseDistribution]:
        """Optuna chooses the place of a value: near places are alike only where the values are numbers."""
        from optuna.distributions import CategoricalDistribution, IntDistribution  # noqa: PLC0415 - see __init__

        return {
            knob.name: IntDistribution(0, len(scale) - 1)
            if _ordered(knob)
            else CategoricalDistribution(range(len(scale)))
            for knob, scale in zip(self._space.knobs, self._scales, strict=True)
        }


def changes(space: Space, values: Sequence[Value]) -> Setting:
    """The setting of one value a knob."""
    return {
        knob.name: value for knob, value in zip(space.knobs, values, strict=True) if value != knob.baseline
    }


def _ordered(knob: Knob) -> bool:
    return not any(isinstance(value, bool | str) for value in knob.choices)


def _scale(knob: Knob) -> tuple[Value, ...]:
    return tuple(sorted(knob.choices, key=float)) if _ordered(knob) else knob.choices
