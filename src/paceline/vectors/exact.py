"""Exact search: every row, or those of a subset, is scored on the codes and the best are re-scored on a finer copy.

The plan for few, fresh or selected rows, and, on float32, the truth that others are measured against.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.base.errors import InvalidRequest
from paceline.vectors.bitmap import Bitmap, among, rows_of
from paceline.vectors.codes import Coded
from paceline.vectors.compiled.scan import scan_rows
from paceline.vectors.graph import Ints
from paceline.vectors.memory import Memory, Wanted
from paceline.vectors.metric import Floats, Metric, entered, scores
from paceline.vectors.searched import (
    CANDIDATES,
    Results,
    check_masks,
    checked_counts,
    checked_queries,
    empty_results,
    in_parts,
)
from paceline.vectors.steps import Ground, Step

_QUERIES_AT_ONCE: Final = 32
_TRUTH_AT_ONCE: Final = 256
_NO_ROWS: Final = np.zeros(0, np.int32)


class _Scan(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What is scanned for whom, and the arrays that the results are written to."""

    queries: Floats
    turned: Floats  # (q, d) as the codes want them
    chosen: Ints | None  # rows; None for all
    wanted: Wanted
    found: Results


class ExactSearch:
    """Exact search of the rows of `coded`; safe for any number of threads at once."""

    def __init__(self, coded: Coded, rescore: Coded | None = None) -> None:
        self.coded = coded
        self.rescore = rescore
        self.ground = Ground.of(coded, rescore)
        self._count = len(coded)
        self._free: list[Memory] = []

    def search(  # noqa: PLR0913 - keywords, each with a default
        self,
        queries: Any,
        k: int,
        *,
        candidates: int = CANDIDATES,
        allowed: Bitmap | None = None,
        deleted: Bitmap | None = None,
        rows: Ints | None = None,
        threads: int = 1,
    ) -> Results:
        """The best `k` of all rows, or of those in `allowed` and `rows`, without those in `deleted`."""
        checked_counts(k, candidates)
        checked = checked_queries(queries, self.coded)
        check_masks(allowed, deleted, self._count)
        return self.scan(checked, k, self._chosen(allowed, deleted, rows), candidates, threads)

    def scan(
        self,
        queries: Floats,
        k: int,
        chosen: Ints | None,
        candidates: int = CANDIDATES,
        threads: int = 1,
    ) -> Results:
        """The best `k` of the `chosen` rows (None: all), as `search`; for callers that have checked all of it."""
        if self._count == 0 or (chosen is not None and len(chosen) == 0):
            return empty_results(len(queries), k)
        results = np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.float32)
        turned, wanted = self.coded.coder.turned(queries), self._wanted(k, candidates)
        in_parts(self._scan, _Scan(queries, turned, chosen, wanted, results), len(queries), threads)
        return results

    def step(
        self, k: int, candidates: int, *, rows: Ints | None = None, first: int = 0, end: int | None = None
    ) -> Step:
        """A scan of `rows`, or from `first` to `end` (None: all); for callers that have checked all of it."""
        count = (self._count if end is None else end) - first if rows is None else len(rows)
        wanted = self._wanted(k, candidates)
        return Step(self.ground, wanted, is_walk=False, listed=rows, first=first, count=count)

    def live_step(self, k: int, candidates: int, deleted: Bitmap | None) -> Step:
        """A scan of all rows that are not deleted."""
        rows = None if deleted is None else rows_of(~deleted, self._count)
        return self.step(k, candidates, rows=rows)

    def _wanted(self, k: int, candidates: int) -> Wanted:
        final = min(candidates, self._count) if self.rescore is not None else 0
        return Wanted(ef=0, room=max(final, k), need=0, final=final, top=k)

    def _scan(self, scan: _Scan, begin: int, end: int) -> None:
        """Write the results of some queries, on this thread; a tile of rows is scored for many at once."""
        try:
            memory = self._free.pop()
        except IndexError:  # there come to be as many as threads search at once
            memory = Memory(0, scan.queries.shape[1], _QUERIES_AT_ONCE)
        memory.ask(scan.wanted)
        chosen = _NO_ROWS if scan.chosen is None else scan.chosen
        everything = self._count if scan.chosen is None else 0
        arrays: tuple[NDArray[Any], ...] = (scan.turned, scan.queries, *scan.found)
        for start in range(begin, end, _QUERIES_AT_ONCE):
            part = arrays
            if len(scan.queries) > _QUERIES_AT_ONCE or end - begin < len(scan.queries):
                which = slice(start, min(start + _QUERIES_AT_ONCE, end))
                part = tuple(array[which] for array in arrays)  # costs as much as a hundred rows
            scan_rows(
                self.ground.sides, memory.request, memory.states, memory.counts, everything, chosen, *part
            )
        self._free.append(memory)

    def _chosen(self, allowed: Bitmap | None, deleted: Bitmap | None, rows: Ints | None) -> Ints | None:
        """The rows to scan; None for all."""
        count = len(self.coded)
        if allowed is None and deleted is None and rows is None:
            return None
        if rows is not None:
            if len(rows) and not (int(rows.min()) >= 0 and int(rows.max()) < count):
                raise InvalidRequest(f"a row is outside 0 to {count - 1}; give rows of this index")
            return np.ascontiguousarray(among(rows, allowed, deleted), np.int32)
        if allowed is None:
            assert deleted is not None
            return rows_of(~deleted, count)
        return rows_of(allowed if deleted is None else allowed & ~deleted, count)


def nearest(queries: Any, vectors: Any, k: int, metric: Metric = "cosine") -> Results:
    """The truth: the best `k` of `vectors` (n, d) for `queries` (q, d) by blocked float32 matrix products."""
    checked_counts(k, 0)
    stored, asked = entered(vectors, metric), entered(queries, metric)
    ids, found = empty_results(len(asked), k)
    top = min(k, len(stored))
    if top == 0:
        return ids, found
    for start in range(0, len(asked), _TRUTH_AT_ONCE):
        part = slice(start, start + _TRUTH_AT_ONCE)
        near = scores(asked[part], stored, metric)
        best = np.argpartition(-near, top - 1, axis=1)[:, :top]
        order = np.lexsort((best, -np.take_along_axis(near, best, 1)))  # equal scores by rising row
        best = np.take_along_axis(best, order, 1)
        ids[part, :top], found[part, :top] = best, np.take_along_axis(near, best, 1)
    return ids, found


def recall(found: NDArray[np.int32], truth: NDArray[np.int32]) -> float:
    """Share of the rows in `truth` (q, k) that are in `found` (q, k), -1 aside."""
    hits = (found[:, :, None] == truth[:, None, :]) & (truth >= 0)[:, None, :]
    return float(hits.any(axis=1).sum() / max(1, (truth >= 0).sum()))
