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
from paceline.vectors.metric import Floats
from paceline.vectors.searched import CANDIDATES, Results, check_masks, checked_counts, checked_queries

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
    live: tuple[bytes, NDArray[np.int32]] | None = None
    """Those of them that are not deleted, and the digest of what was deleted then."""
    walks: float = 0.0
    short: float = 0.0
    queries: int = 0
    known: bool = True
    """False once it had to make room for others."""

    @property
    def held_bytes(self) -> int:
        """Bytes of the rows that are kept."""
        return (0 if self.rows is None else self.rows.nbytes) + (
            0 if self.live is None else self.live[1].nbytes
        )


class _Ask(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One checked call of `Planner.search`."""

    queries: Floats
    k: int
    candidates: int
    allowed: Bitmap
    deleted: Bitmap | None
    threads: int
    passing: Passing


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
        check_masks(allowed, deleted, count)
        asked = checked_queries(queries, under.coded)
        return self.planned(
            asked, k, ef, candidates=candidates, allowed=allowed, deleted=deleted, threads=threads
        )

    def planned(  # noqa: PLR0913 - keywords
        self,
        queries: Floats,
        k: int,
        ef: int,
        *,
        candidates: int,
        allowed: Bitmap,
        deleted: Bitmap | None,
        threads: int,
    ) -> Results:
        """As `search` of a graph that has rows, with a filter; for callers that have checked all of it."""
        ask = _Ask(queries, k, candidates, allowed, deleted, threads, self.passing(allowed))
        need = max(k, NEED, candidates if self.graph_search.rescore is not None else 0)
        steps = self._steps(ask.passing, ef, need, len(queries))
        return self._scanned(ask, queries) if steps == 0 else self._walked(ask, ef, need, steps)

    def _walked(self, ask: _Ask, ef: int, need: int, steps: int) -> Results:
        """By walks of so many steps at most, and by scans for the queries whose walk came short."""
        good = ask.passing.count if ask.deleted is None else size_of(ask.allowed & ~ask.deleted)
        rows, scores = self.graph_search.masked(
            ask.queries,
            need,
            ef,
            candidates=ask.candidates,
            allowed=ask.allowed,
            deleted=ask.deleted,
            good=good,
            plan="walk",
            most=steps,
            threads=ask.threads,
        )
        short = np.flatnonzero(rows[:, -1] < 0)
        with self._lock:
            passing, fade = ask.passing, max(0.0, 1 - len(rows) / _MEMORY)
            passing.walks = passing.walks * fade + len(rows)
            passing.short = passing.short * fade + len(short)
        rows, scores = np.ascontiguousarray(rows[:, : ask.k]), np.ascontiguousarray(scores[:, : ask.k])
        if len(short):
            rows[short], scores[short] = self._scanned(ask, ask.queries[short])
        return rows, scores

    def _scanned(self, ask: _Ask, queries: Floats) -> Results:
        """By a scan of the rows that pass and are not deleted."""
        rows = ask.passing.rows
        if rows is None:
            rows = rows_of(ask.allowed, len(self.graph_search.graph))
            self._keep(ask.passing, rows, ask.passing.live)
        if ask.deleted is not None:
            rows = self._live(ask.passing, rows, ask.deleted)
        return self.graph_search.exact.scan(queries, ask.k, rows, ask.candidates, ask.threads)

    def _live(self, passing: Passing, rows: NDArray[np.int32], deleted: Bitmap) -> NDArray[np.int32]:
        """The rows without the deleted ones: found once for all queries between two writes."""
        digest, kept = xxhash.xxh3_128_digest(deleted.data), passing.live
        if kept is not None and kept[0] == digest:
            return kept[1]
        gone = (deleted[rows >> 6] >> (rows & 63).astype(np.uint64)) & np.uint64(1)
        live: NDArray[np.int32] = rows[gone == 0]
        self._keep(passing, rows, (digest, live))
        return live

    def _keep(
        self, passing: Passing, rows: NDArray[np.int32], live: tuple[bytes, NDArray[np.int32]] | None
    ) -> None:
        """Remember the rows of a filter if there is room for them."""
        more = rows.nbytes + (0 if live is None else live[1].nbytes)
        with self._lock:
            if passing.known and self._rows_bytes - passing.held_bytes + more <= _ROWS_KEPT_BYTES:
                self._rows_bytes += more - passing.held_bytes
                passing.rows, passing.live = rows, live

    def passing(self, allowed: Bitmap) -> Passing:
        """What is known of the filter that made this bitmap: bitmaps are known by their content."""
        key = xxhash.xxh3_128_digest(allowed.data)
        with self._lock:
            known = self._known.get(key)
            if known is None:
                known = self._known[key] = Passing(size_of(allowed))
                while len(self._known) > _FILTERS_KEPT:
                    _, left = self._known.popitem(last=False)
                    left.known = False
                    self._rows_bytes -= left.held_bytes
            else:
                self._known.move_to_end(key)
            return known

    def _steps(self, passing: Passing, ef: int, need: int, queries: int) -> int:
        """How long to walk before a scan; 0 to scan at once."""
        if passing.count <= need:
            return 0
        costs = self.costs
        scan = costs.scan(passing.count, queries)
        budget = min(costs.steps_within(scan), MOST_STEPS)
        if budget < ef:
            return 0
        expected = max(ef, need * len(self.graph_search.graph) / passing.count)
        with self._lock:
            passing.queries += queries
            guess = 1.0 if expected > budget else 0.0
            short = (passing.short + _PRIOR * guess) / (passing.walks + _PRIOR)
            tried = queries == 1 and passing.queries % _TRIED_EVERY == 0
        saved = scan - costs.walk(min(expected, budget))
        if expected > budget:  # those that succeed are in the midst of rows that pass
            saved = scan - costs.walk(ef)
        return budget if tried or (1 - short) * saved > short * costs.walk(budget) else 0
