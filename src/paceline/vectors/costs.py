"""What searches of one segment cost on this machine, in seconds: measured, because the ratios decide between plans.

How many rows are scanned in the time of one step of a walk differs fivefold between machines, precisions and sizes: a
walk waits for memory, a scan for arithmetic.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Final, Self

import msgspec
import numpy as np

from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.metric import Floats

_QUERIES: Final = 24
_TOGETHER: Final = 16
_ROWS: Final = (64, 2048)
_ROWS_OF: Final = 1 << 18
"""The first rows, of which those scanned are drawn: more than any cache holds, few enough to be in memory afterwards."""
_STEPS: Final = (32, 160)


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
        """By a few searches for the segment's own vectors: some 20 ms. The segment has a row at least."""
        draw = np.random.default_rng(len(search.coded))
        cls._measured(
            search, draw
        )  # of a memory map that was not read yet each page costs as much as ten rows
        return cls._measured(search, draw)

    @classmethod
    def _measured(cls, search: GraphSearch, draw: np.random.Generator) -> Self:
        count = min(len(search.coded), _ROWS_OF)
        own: Floats = search.coded.coder.decode(search.coded.rows[draw.integers(0, count, _QUERIES)])
        own += np.float32(1e-3)  # no query of zeros, which has no cosine

        def scan_s(size: int, queries: Sequence[Floats]) -> float:
            listed = [np.sort(draw.integers(0, count, size)).astype(np.int32) for _ in queries]
            return _median_s(lambda i: search.exact.search(queries[i], 10, rows=listed[i]), len(queries))

        def walk_s(steps: int) -> float:
            # As many results as steps: of fewer a walk may end before its last step (`reach.py`).
            return _median_s(lambda i: search.search(own[i], steps, steps, plan="walk"), len(own))

        scans = _line(_ROWS, (scan_s(_ROWS[0], list(own)), scan_s(_ROWS[1], list(own))))
        together_s = scan_s(_ROWS[1], [own[:_TOGETHER]] * 3) / _TOGETHER
        walks = _line(_STEPS, (walk_s(_STEPS[0]), walk_s(_STEPS[1])))
        return cls(*scans, min(scans[1], together_s / _ROWS[1]), *walks)

    def scan(self, rows: int, queries: int = 1) -> float:
        """Seconds a query, of a scan of so many rows for so many queries at once."""
        return self.scan_s + rows * (self.scan_row_s if queries < _TOGETHER else self.together_row_s)

    def walk(self, steps: float) -> float:
        """Seconds of a walk of so many steps."""
        return self.walk_s + steps * self.walk_step_s

    def steps_within(self, seconds: float) -> int:
        """The longest walk that takes no longer."""
        return max(0, int((seconds - self.walk_s) / self.walk_step_s))


def _median_s(search: Callable[[int], object], times: int) -> float:
    """Seconds of the middle one of different searches: the same one again would find all it needs in the cache."""
    search(0)
    seconds = []
    for i in range(times):
        started = time.perf_counter()
        search(i)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _line(sizes: tuple[int, int], seconds: tuple[float, float]) -> tuple[float, float]:
    """What is spent at once and for each, both above zero however noisy the clock."""
    each = max((seconds[1] - seconds[0]) / (sizes[1] - sizes[0]), 1e-10)
    return max(seconds[0] - each * sizes[0], 0.0), each
