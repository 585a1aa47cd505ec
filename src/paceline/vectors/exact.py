"""Exact search: every row, or those of a subset, is scored on the codes and the best are re-scored on a finer copy.

The plan for few, fresh or selected rows, and, on float32, the truth that others are measured against.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from paceline.base.errors import InvalidRequest
from paceline.vectors.bitmap import Bitmap, among, rows_of
from paceline.vectors.codes import Coded
from paceline.vectors.compiled.scan import scan_rows
from paceline.vectors.memory import Memory, Wanted
from paceline.vectors.metric import Floats, Metric, entered, scores
from paceline.vectors.searched import (
    CANDIDATES,
    Asked,
    Results,
    check_masks,
    checked_counts,
    checked_queries,
    empty_results,
    in_parts,
)

_QUERIES_AT_ONCE: Final = 32
_TRUTH_AT_ONCE: Final = 256
_NO_ROWS: Final = np.zeros(0, np.int32)


class ExactSearch:
    """Exact search of the rows of `coded`; safe for any number of threads at once."""

    def __init__(self, coded: Coded, rescore: Coded | None = None) -> None:
        self.coded = coded
        self.rescore = rescore
        fine = coded if rescore is None else rescore
        self._count = len(coded)
        self._sides = np.stack([coded.side(), fine.side()])
        self._coders = (coded.coder, fine.coder)
        self._free: dict[int, list[Memory]] = {1: [], _QUERIES_AT_ONCE: []}

    def search(  # noqa: PLR0913 - keywords, each with a default
        self,
        queries: Any,
        k: int,
        *,
        candidates: int = CANDIDATES,
        allowed: Bitmap | None = None,
        deleted: Bitmap | None = None,
        rows: NDArray[np.int32] | None = None,
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
        chosen: NDArray[np.int32] | None,
        candidates: int = CANDIDATES,
        threads: int = 1,
    ) -> Results:
        """The best `k` of the `chosen` rows (None: all), as `search`; for callers that have checked all of it."""
        if self._count == 0 or (chosen is not None and len(chosen) == 0):
            return empty_results(len(queries), k)
        final = min(candidates, self._count) if self.rescore is not None else 0
        wanted = Wanted(ef=0, room=max(final, k), need=0, final=final, top=k)
        asked = Asked.of(queries, self.coded.coder, k)
        in_parts(self._scan, (wanted, chosen), asked, threads)
        return asked.rows, asked.scores

    def _scan(self, how: tuple[Wanted, NDArray[np.int32] | None], asked: Asked) -> None:
        """Write the results, of the rows chosen, on this thread."""
        (wanted, chosen), count = how, len(asked.plain)
        if count > _QUERIES_AT_ONCE:
            for start in range(0, count, _QUERIES_AT_ONCE):
                self._scan(how, asked.part(slice(start, start + _QUERIES_AT_ONCE)))
            return
        at_once = 1 if count == 1 else _QUERIES_AT_ONCE
        free = self._free[at_once]
        try:
            memory = free.pop()
        except IndexError:  # there come to be as many as threads search at once
            memory = Memory(0, self._coders, at_once)
        memory.ask(wanted)
        scan_rows(
            self._sides,
            memory.request,
            memory.states,
            memory.counts,
            self._count if chosen is None else 0,
            _NO_ROWS if chosen is None else chosen,
            asked.turned,
            asked.plain,
            asked.rows,
            asked.scores,
        )
        free.append(memory)

    def _chosen(
        self, allowed: Bitmap | None, deleted: Bitmap | None, rows: NDArray[np.int32] | None
    ) -> NDArray[np.int32] | None:
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
