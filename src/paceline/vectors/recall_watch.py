"""Whether a tuned collection still holds its recall as it changes: `RecallWatch`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec
import numpy as np

from paceline.base.clock import Clock, monotonic
from paceline.vectors.recall import CONFIDENCE, FEWEST, RecallTable, Searched, exact_ids, tune
from paceline.vectors.recall_bound import lower_bound
from paceline.vectors.recent_queries import RecentQueries

State = Literal["holds", "tuned", "failing", "too few queries"]


class Watched(Searched, Protocol):
    """What is watched: a `Collection`."""

    @property
    def version(self) -> int:
        """See `Collection.version`."""
        ...


class Promise(msgspec.Struct, frozen=True):
    """What is promised of the recall, and how often it is checked."""

    target: float
    k: int = 10
    confidence: float = CONFIDENCE
    queries: int = 1000
    every_s: float = 600.0
    """Least time between two checks; without a write in between there is none."""


class Check(msgspec.Struct, frozen=True):
    """What a check found; `failing`: no setting tried is sure to hold the target."""

    state: State
    recall: float
    bound: float
    table: RecallTable | None = None


class RecallWatch:
    """Checks the setting in use on recent queries, and tunes anew when it fails; belongs to one thread.

    `apply` is given the ef and the candidates to use from then on.
    """

    def __init__(
        self,
        searched: Watched,
        recent: RecentQueries,
        promise: Promise,
        apply: Callable[[int, int], None],
        clock: Clock = monotonic,
    ) -> None:
        self._searched = searched
        self._recent = recent
        self._promise = promise
        self._apply = apply
        self._clock = clock
        self._version = -1
        self._next_at = -np.inf
        self._ef: int | None = None
        self._candidates: int | None = None
        self._checks = 0

    def is_due(self) -> bool:
        """Whether there were writes since the last check, and it is long enough ago."""
        return self._clock() >= self._next_at and self._searched.version != self._version

    def check(self) -> Check:
        """Measure the setting in use, tune if it does not hold; takes seconds."""
        promise, version = self._promise, self._searched.version
        self._next_at = self._clock() + promise.every_s
        self._checks += 1
        queries = self._recent.sample(promise.queries, seed=self._checks)
        if len(queries) < FEWEST:
            return Check("too few queries", 0.0, 0.0)
        self._version = version
        truth = exact_ids(self._searched, queries, promise.k)
        shares = [
            len(near & {match.id for match in found}) / len(near) if near else 1.0
            for near, found in zip(
                truth,
                self._searched.query(queries, promise.k, ef=self._ef, candidates=self._candidates),
                strict=True,
            )
        ]
        recall, bound = float(np.mean(shares)), lower_bound(shares, promise.confidence)
        if bound >= promise.target:
            return Check("holds", recall, bound)
        table = tune(
            self._searched,
            queries,
            promise.target,
            k=promise.k,
            confidence=promise.confidence,
            seed=self._checks,
        )
        if table.chosen is None:
            return Check("failing", recall, bound, table)
        self._ef, self._candidates = table.chosen.ef, table.chosen.candidates
        self._apply(self._ef, self._candidates)
        return Check("tuned", table.chosen.recall, table.chosen.bound, table)
