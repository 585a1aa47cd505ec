"""How a filtered query is answered: by a scan of the rows that may be returned, or by a walk of the graph first.

A walk goes through rows that may not be returned, so it needs about NEED / share steps where `share` of the rows *near
the query* may be returned. That share cannot be read off the filter: an attribute that follows the vectors makes it
nearly 1 for some queries and 0 for others. So a walk is given as many steps as the scan would cost, and stops early if
it has found enough; if it has not by then, the scan follows. Whatever the filter, a query costs at most twice what the
better of the two would have, and what is returned is never short of rows.

Whether the walk is tried at all is decided by what it saved before: of each filter the planner remembers how many
walks came short. Without a history the global share is the guess. One query in sixteen walks although the scan seems
better, to notice when this has changed.

    share of rows          100,000 rows        1,000,000 rows
    up to a few percent    scan                scan
    from there             walk, then scan     walk, then scan
    follows the vectors    learned             learned
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Final

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from paceline.vectors.bitmap import Bitmap, rows_of, size_of
from paceline.vectors.costs import Costs
from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.searched import CANDIDATES, Results, checked_counts, checked_masks, checked_queries

NEED: Final = 32
"""Rows that may be returned, which a walk has to meet for its best ten to be the true ones."""
MOST_STEPS: Final = 4096
_TRIED_EVERY: Final = 16
_MEMORY: Final = 64.0
"""Walks that are remembered; older ones fade."""
_PRIOR: Final = 2.0
"""Walks that the guess from the global share counts for."""
_FILTERS_KEPT: Final = 128
_ROWS_KEPT_BYTES: Final = 16 << 20


class Passing(msgspec.Struct, gc=False):
    """What is known of one filter in this segment."""

    count: int
    rows: NDArray[np.int32] | None = None
    """Those that pass, kept once a scan wanted them."""
    walks: float = 0.0
    short: float = 0.0
    queries: int = 0


class Planner:
    """`GraphSearch.search` by the better plan; safe for any number of threads at once."""

    def __init__(self, search: GraphSearch, costs: Costs | None = None) -> None:
        """Costs are measured when the first filter comes, unless they are given."""
        self.graph_search = search
        self._costs = costs
        self._known: OrderedDict[bytes, Passing] = OrderedDict()
        self._rows_bytes = 0
        self._lock = threading.Lock()  # of all but `graph_search`; no search is made under it

    @property
    def costs(self) -> Costs:
        """What searches cost here."""
        if self._costs is None:
            self._costs = Costs.measured(self.graph_search)  # twice, if two threads come first
        return self._costs

    def search(  # noqa: PLR0913 - keywords, each with a default
        self,
        queries: Any,
        k: int,
        ef: int,
        *,
        candidates: int = CANDIDATES,
        allowed: Bitmap | None = None,
        deleted: Bitmap | None = None,
        threads: int = 1,
    ) -> Results:
        """The best `k` rows for `queries`: see `GraphSearch.search`."""
        under, count = self.graph_search, len(self.graph_search.graph)
        if allowed is None or count == 0:
            return under.search(
                queries, k, ef, candidates=candidates, allowed=allowed, deleted=deleted, threads=threads
            )
        checked_counts(k, candidates)
        checked_masks(allowed, deleted, count)
        asked = checked_queries(queries, under.coded)
        passing = self._passing(allowed)
        need = max(k, NEED, candidates if under.rescore is not None else 0)
        steps = self._steps(passing, ef, need, len(asked))
        if steps == 0:
            return self._scanned(asked, k, candidates, passing, allowed, deleted, threads)
        found = under.search(
            asked,
            min(need, passing.count),
            ef,
            candidates=candidates,
            allowed=allowed,
            deleted=deleted,
            plan="walk",
            most=steps,
            threads=threads,
        )
        return self._completed(found, asked, k, candidates, passing, allowed, deleted, threads)

    def _completed(  # noqa: PLR0913, PLR0917 - what was asked
        self,
        found: Results,
        asked: Any,
        k: int,
        candidates: int,
        passing: Passing,
        allowed: Bitmap,
        deleted: Bitmap | None,
        threads: int,
    ) -> Results:
        """The walks' results, with those of scans for queries whose walk came short."""
        rows, scores = found
        short = rows[:, -1] < 0
        with self._lock:
            fade = max(0.0, 1 - len(asked) / _MEMORY)
            passing.walks = passing.walks * fade + len(asked)
            passing.short = passing.short * fade + int(short.sum())
        ids, near = _widened(rows, scores, k)
        if short.any():
            again = np.flatnonzero(short)
            ids[again], near[again] = self._scanned(
                asked[again], k, candidates, passing, allowed, deleted, threads
            )
        return ids, near

    def _scanned(  # noqa: PLR0913, PLR0917 - what was asked
        self,
        asked: Any,
        k: int,
        candidates: int,
        passing: Passing,
        allowed: Bitmap,
        deleted: Bitmap | None,
        threads: int,
    ) -> Results:
        rows = passing.rows
        if rows is None:
            rows = rows_of(allowed, len(self.graph_search.graph))
            with self._lock:
                if passing.rows is None and self._rows_bytes + rows.nbytes <= _ROWS_KEPT_BYTES:
                    passing.rows = rows
                    self._rows_bytes += rows.nbytes
        return self.graph_search.exact.search(
            asked, k, candidates=candidates, deleted=deleted, rows=rows, threads=threads
        )

    def _passing(self, allowed: Bitmap) -> Passing:
        """What is known of the filter that made this bitmap: bitmaps are known by their content."""
        key = xxhash.xxh3_128_digest(allowed)
        with self._lock:
            known = self._known.get(key)
            if known is None:
                known = self._known[key] = Passing(size_of(allowed))
                while len(self._known) > _FILTERS_KEPT:
                    _, left = self._known.popitem(last=False)
                    self._rows_bytes -= 0 if left.rows is None else left.rows.nbytes
            else:
                self._known.move_to_end(key)
            return known

    def _steps(self, passing: Passing, ef: int, need: int, queries: int) -> int:
        """How long to walk before a scan; 0 to scan at once."""
        if passing.count <= need:
            return 0
        costs, count = self.costs, len(self.graph_search.graph)
        scan = costs.scan(passing.count, queries)
        expected = max(ef, need * count / passing.count)
        budget = min(costs.steps_within(scan), MOST_STEPS)
        if budget < ef:
            return 0
        with self._lock:
            passing.queries += queries
            guess = 1.0 if expected > budget else 0.0
            short = (passing.short + _PRIOR * guess) / (passing.walks + _PRIOR)
            tried = passing.queries % _TRIED_EVERY < queries and queries == 1
        saved = scan - costs.walk(min(expected, budget))
        if expected > budget:  # those that succeed are in the midst of rows that pass
            saved = scan - costs.walk(ef)
        return budget if tried or (1 - short) * saved > short * costs.walk(budget) else 0


def _widened(rows: NDArray[np.int32], scores: Any, k: int) -> Results:
    """The first `k` columns."""
    return np.ascontiguousarray(rows[:, :k]), np.ascontiguousarray(scores[:, :k])
