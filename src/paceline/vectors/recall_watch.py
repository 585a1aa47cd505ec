"""Whether a tuned collection still holds its recall as it changes: `RecallWatch`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, Protocol

import msgspec
import numpy as np

from paceline.base.clock import Clock, monotonic
from paceline.vectors.recall import CONFIDENCE, FEWEST, RecallTable, Rest, Searched, exact_ids, tune
from paceline.vectors.recall_bound import lower_bound
from paceline.vectors.recent_queries import RecentQueries

EVERY_S: Final = 600.0
_QUERIES: Final = 1000
"""Of those asked last, taken for a check."""

State = Literal["holds", "tuned", "failing", "too few queries"]


class Watched(Searched, Protocol):
    """What is watched: a `Collection`."""

    @property
    def version(self) -> int:
        """See `Collection.version`."""
        ...


class Promise(msgspec.Struct, frozen=True):
    """What is promised of the recall, in one namespace."""

    target: float
    k: int = 10
    confidence: float = CONFIDENCE
    namespace: str = ""


class Check(msgspec.Struct, frozen=True):
    """What a check found; `failing`: no setting tried is sure to hold the target."""

    state: State
    recall: float
    bound: float
    table: RecallTable | None = None


class RecallWatch:
    """Checks the setting in use on recent queries, and tunes anew when it fails; belongs to one thread at a time.

    `apply` is given the ef and the candidates to use from then on.
    """

    def __init__(  # noqa: PLR0913 - keywords, each with a default
        self,
        searched: Watched,
        recent: RecentQueries,
        promise: Promise,
        apply: Callable[[int, int], None],
        *,
        ef: int | None = None,
        candidates: int | None = None,
        every_s: float = EVERY_S,
        clock: Clock = monotonic,
    ) -> None:
        """`ef` and `candidates` are in use now, those of the collection's policy if they are not said."""
        self._searched = searched
        self._recent = recent
        self._promise = promise
        self._apply = apply
        self._clock = clock
        self._version = -1
        self._next_at = -np.inf
        self._ef = ef
        self._candidates = candidates
        self._checks = 0
        self.every_s = every_s
        """Least time between two checks; without a write in between there is none. May be changed while running."""

    def is_due(self) -> bool:
        """Whether there were writes since the last check, and it is long enough ago."""
        return self._clock() >= self._next_at and self._searched.version != self._version

    def forget(self) -> None:
        """The next check is due without a write as well."""
        self._version = -1

    def check(self, rest: Rest = lambda: None) -> Check:
        """Measure the setting in use, tune if it does not hold; takes seconds.

        `rest` is called between pieces of work, for others to have the cores; what it raises ends the check.
        """
        promise, version = self._promise, self._searched.version
        self._next_at = self._clock() + self.every_s
        self._checks += 1
        queries = self._recent.sample(_QUERIES, seed=self._checks, namespace=promise.namespace)
        if len(queries) < FEWEST:
            return Check("too few queries", 0.0, 0.0)
        self._version = version
        truth = exact_ids(self._searched, queries, promise.k, namespace=promise.namespace, rest=rest)
        shares = []
        for query, near in zip(queries, truth, strict=True):
            found = self._searched.query(
                query, promise.k, namespace=promise.namespace, ef=self._ef, candidates=self._candidates
            )[0]
            shares.append(len(near & {match.id for match in found}) / len(near) if near else 1.0)
        recall, bound = float(np.mean(shares)), lower_bound(shares, promise.confidence)
        if bound >= promise.target:
            return Check("holds", recall, bound)
        table = tune(
            self._searched,
            queries,
            promise.target,
            k=promise.k,
            confidence=promise.confidence,
            namespace=promise.namespace,
            seed=self._checks,
            rest=rest,
        )
        if table.chosen is None:
            return Check("failing", recall, bound, table)
        self._ef, self._candidates = table.chosen.ef, table.chosen.candidates
        self._apply(self._ef, self._candidates)
        return Check("tuned", table.chosen.recall, table.chosen.bound, table)
