"""What searches of one segment cost on this machine, in seconds: measured, because the ratios decide between plans.

How many rows are scanned in the time of one step of a walk differs fivefold between machines, precisions and sizes: a
walk waits for memory, a scan for arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Self

import msgspec
import numpy as np

from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.metric import Floats

_QUERIES: Final = 6
_TOGETHER: Final = 16
_ROWS: Final = (64, 2048)
_STEPS: Final = (32, 160)
_REPEATS: Final = 3


class Costs(msgspec.Struct, frozen=True):
    """Seconds of one query: so much at once, and so much for each row scanned or step walked."""

    scan_s: float
    scan_row_s: float
    together_row_s: float
    """For each row when many queries are scanned at once: a row is fetched once for all."""
    walk_s: float
    walk_step_s: float

    @classmethod
    def measured(cls, search: GraphSearch) -> Self:
        """By a few searches for the segment's own vectors: some 10 ms. The segment has a row at least."""
        count = len(search.coded)
        draw = np.random.default_rng(count)
        coder = search.coded.coder
        own: Floats = coder.decode(search.coded.rows[draw.integers(0, count, _TOGETHER)])
        own += np.float32(1e-3)  # no query of zeros, which has no cosine
        few, many = (np.sort(draw.integers(0, count, size)).astype(np.int32) for size in _ROWS)

        def scan(rows: Any) -> float:
            return _fastest(lambda query: search.exact.search(query, 10, rows=rows), own[:_QUERIES])

        def walk(steps: int) -> float:
            return _fastest(lambda query: search.search(query, 10, steps, plan="walk"), own[:_QUERIES])

        scan_s, scan_row_s = _line(_ROWS, (scan(few), scan(many)))
        together_s = _fastest(lambda queries: search.exact.search(queries, 10, rows=many), [own]) / _TOGETHER
        walk_s, walk_step_s = _line(_STEPS, (walk(_STEPS[0]), walk(_STEPS[1])))
        return cls(scan_s, scan_row_s, min(scan_row_s, together_s / _ROWS[1]), walk_s, walk_step_s)

    def scan(self, rows: int, queries: int = 1) -> float:
        """Seconds a query, of a scan of so many rows for so many queries at once."""
        return self.scan_s + rows * (self.scan_row_s if queries < _TOGETHER else self.together_row_s)

    def walk(self, steps: float) -> float:
        """Seconds of a walk of so many steps."""
        return self.walk_s + steps * self.walk_step_s

    def steps_within(self, seconds: float) -> int:
        """The longest walk that takes no longer."""
        return max(0, int((seconds - self.walk_s) / self.walk_step_s))


def _fastest(search: Callable[[Any], object], queries: Any) -> float:
    """Seconds a query, of the quickest of a few rounds: what disturbs only ever adds."""
    rounds = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        for query in queries:
            search(query)
        rounds.append(time.perf_counter() - started)
    return min(rounds) / len(queries)


def _line(sizes: tuple[int, int], seconds: tuple[float, float]) -> tuple[float, float]:
    """What is spent at once and for each, both above zero however noisy the clock."""
    each = max((seconds[1] - seconds[0]) / (sizes[1] - sizes[0]), 1e-10)
    return max(seconds[0] - each * sizes[0], 0.0), each
