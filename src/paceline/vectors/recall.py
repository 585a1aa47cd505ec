"""Settings of a search that hold a recall, proven on real queries: `tune`.

For every ef the sample is searched one query at a time, and compared with the exact answers. From the largest ef down,
each is accepted while the lower bound of its recall (`recall_bound.py`) holds the target; the first that fails ends it.
Testing in a fixed order and stopping at the first failure leaves the whole choice at the confidence of one test. Then
the number of re-scored candidates goes down in the same way. Each of the two has half of the allowed error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.base.errors import InvalidRequest
from paceline.vectors.recall_bound import lower_bound
from paceline.vectors.record import Match

EFS: Final = (400, 250, 200, 150, 100, 64, 48, 32, 24, 16)
CANDIDATES: Final = (64, 48, 32, 24, 16)
CONFIDENCE: Final = 0.95
FEWEST: Final = 100
"""Queries below which a bound says nothing about the last percents."""
_TRUTH_AT_ONCE: Final = 16
_TRUTH_CANDIDATES: Final = 256

Clock = Callable[[], float]
Rest = Callable[[], None]


class Searched(Protocol):
    """What is tuned: a `Collection`."""

    def query(  # noqa: PLR0913 - keywords
        self,
        vectors: Any,
        k: int = 10,
        *,
        namespace: str = "",
        ef: int | None = None,
        candidates: int | None = None,
        exact: bool = False,
    ) -> list[list[Match]]:
        """See `Collection.query`."""
        ...


class Level(msgspec.Struct, frozen=True):
    """One setting, measured."""

    ef: int
    candidates: int
    recall: float
    bound: float
    """What the recall is at least."""
    p50_ms: float
    p99_ms: float
    qps: float
    """Queries a second on one thread."""


class RecallTable(msgspec.Struct, frozen=True):
    """Settings from the most thorough to the quickest, and the one to take."""

    k: int
    target: float
    confidence: float
    queries: int
    levels: list[Level]
    chosen: Level | None
    """None if no setting tried is sure to hold the target."""

    def text(self) -> str:
        """As lines of a terminal."""
        head = f"{'ef':>5} {'re-scored':>9} {f'recall@{self.k}':>10} {'at least':>9} {'p50 ms':>8} {'p99 ms':>8} {'QPS':>9}"
        lines = [
            f"{one.ef:>5} {one.candidates:>9} {one.recall:>10.4f} {one.bound:>9.4f} {one.p50_ms:>8.3f} "
            f"{one.p99_ms:>8.3f} {one.qps:>9,.0f}{'  <- chosen' if one == self.chosen else ''}"
            for one in self.levels
        ]
        said = f"{self.queries} queries; at least: with {self.confidence:.1%} confidence"
        if self.chosen is None:
            said += f"; none is sure to hold {self.target}: ask for less, give more queries, or raise m or the precision"
        return "\n".join([head, *lines, said])


def exact_ids(
    searched: Searched, queries: Any, k: int, *, namespace: str = "", rest: Rest = lambda: None
) -> list[set[str]]:
    """The true neighbours of each query, by a scan; `rest` is called between batches, for others to have the cores."""
    asked = np.atleast_2d(np.asarray(queries, np.float32))
    truth: list[set[str]] = []
    for start in range(0, len(asked), _TRUTH_AT_ONCE):
        part = asked[start : start + _TRUTH_AT_ONCE]
        found = searched.query(part, k, namespace=namespace, candidates=max(k, _TRUTH_CANDIDATES), exact=True)
        truth += [{match.id for match in one} for one in found]
        rest()
    return truth


def tune(  # noqa: PLR0913 - keywords, each with a default
    searched: Searched,
    queries: Any,
    target: float,
    *,
    k: int = 10,
    confidence: float = CONFIDENCE,
    namespace: str = "",
    efs: Sequence[int] = EFS,
    candidates: Sequence[int] = CANDIDATES,
    seed: int = 1,
    clock: Clock = time.perf_counter,
    rest: Rest = lambda: None,
) -> RecallTable:
    """Measure settings on real queries (q, d) that the index was not built from, and choose the quickest that holds.

    InvalidRequest if there are too few queries to tell, or the target is none.
    """
    if not 0 < target < 1:
        raise InvalidRequest(
            f"recall {target} cannot be promised; ask for more than 0 and less than 1", param="recall"
        )
    asked = np.atleast_2d(np.asarray(queries, np.float32))
    if len(asked) < FEWEST:
        raise InvalidRequest(
            f"{len(asked)} queries tell too little about recall {target}; give {FEWEST} or more, best 1,000",
            param="queries",
        )
    asked = asked[np.random.default_rng(seed).permutation(len(asked))]
    truth = exact_ids(searched, asked, k, namespace=namespace, rest=rest)
    sure = 1 - (1 - confidence) / 2

    def measured(ef: int, rescored: int) -> Level:
        shares, seconds = _searched(searched, asked, truth, k, namespace, ef, rescored, clock)
        rest()
        return Level(
            ef,
            rescored,
            float(shares.mean()),
            lower_bound(shares, sure),
            float(np.quantile(seconds, 0.50)) * 1e3,
            float(np.quantile(seconds, 0.99)) * 1e3,
            1 / max(float(seconds.mean()), 1e-9),
        )

    falling = sorted(set(candidates), reverse=True)
    by_ef = [measured(ef, falling[0]) for ef in sorted(set(efs), reverse=True)]
    chosen = _last_holding(by_ef, target)
    fewer = []
    if chosen is not None:
        for rescored in falling[1:]:
            if rescored >= k:
                fewer.append(measured(chosen.ef, rescored))
                if fewer[-1].bound < target:
                    break
        chosen = _last_holding([chosen, *fewer], target)
    return RecallTable(k, target, confidence, len(asked), [*by_ef, *fewer], chosen)


def _last_holding(levels: list[Level], target: float) -> Level | None:
    """The last of the levels before the first that does not hold."""
    chosen = None
    for level in levels:
        if level.bound < target:
            break
        chosen = level
    return chosen


def _searched(  # noqa: PLR0913, PLR0917 - what is measured
    searched: Searched,
    asked: NDArray[np.float32],
    truth: list[set[str]],
    k: int,
    namespace: str,
    ef: int,
    candidates: int,
    clock: Clock,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each query the share of its neighbours found, and seconds."""
    shares, seconds = np.ones(len(asked)), np.zeros(len(asked))
    for i, (query, near) in enumerate(zip(asked, truth, strict=True)):
        started = clock()
        found = searched.query(query, k, namespace=namespace, ef=ef, candidates=candidates)[0]
        seconds[i] = clock() - started
        if near:
            shares[i] = len(near & {match.id for match in found}) / len(near)
    return shares, seconds
