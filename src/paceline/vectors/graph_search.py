"""Search of a segment through its graph, with filters and tombstones, re-scored: `GraphSearch.search`.

A filtered search walks through forbidden rows and widens until it has met enough that are allowed. Where that would
cost more than scoring every allowed row, or the walk ran dry, the allowed rows are scanned instead, so that recall holds
whatever the filter.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final, Literal

import numpy as np

from paceline.base.errors import InvalidRequest
from paceline.vectors.bitmap import Bitmap, size_of
from paceline.vectors.codes import Coded
from paceline.vectors.exact import ExactSearch
from paceline.vectors.graph import Graph
from paceline.vectors.memory import Memories, Wanted
from paceline.vectors.metric import Floats
from paceline.vectors.reach import reaching
from paceline.vectors.searched import (
    CANDIDATES,
    Results,
    check_masks,
    checked_counts,
    checked_queries,
    empty_results,
)
from paceline.vectors.steps import Ground, Step, Steps

Plan = Literal["auto", "walk", "scan"]
_ROOM_MOST: Final = 4096
_SCANNED_A_STEP: Final = 80
"""Allowed rows that are scanned in the time a walk takes for one row of its pool: of 115,659 vectors of 384 bytes the two
plans cost the same where 17 % are allowed, 20,000 rows against a pool of 190; less, as a single query scans slower."""
_MOSTLY: Final = 0.75
"""Share of good rows from which on a masked walk looks at its reach, too: with fewer it has to look among all it holds for
the k-th that is good, again and again, which costs more than it saves (a random half of 115,659: 0.8 of the queries)."""


class GraphSearch:
    """Searches one segment; safe for any number of threads at once. `rescore` is a finer copy of the same rows."""

    def __init__(
        self,
        graph: Graph,
        coded: Coded,
        rescore: Coded | None = None,
        *,
        memories: Memories | None = None,
    ) -> None:
        """`memories`: those of the search of fewer of the same rows."""
        for name, rows in (("codes", coded), ("re-scoring copy", rescore)):
            if rows is not None and len(rows) != len(graph):
                raise InvalidRequest(
                    f"the graph has {len(graph)} rows, the {name} {len(rows)}; encode the same vectors"
                )
        self.graph = graph
        self.coded = coded
        self.rescore = rescore
        self.ground = Ground.of(coded, rescore, graph)
        self.memories = memories or Memories()

    @cached_property
    def exact(self) -> ExactSearch:
        """Of the same rows."""
        return ExactSearch(self.coded, self.rescore)

    def search(  # noqa: PLR0913 - keywords, each with a default
        self,
        queries: Any,
        k: int,
        ef: int,
        *,
        candidates: int = CANDIDATES,
        allowed: Bitmap | None = None,
        deleted: Bitmap | None = None,
        plan: Plan = "auto",
        most: int = 0,
        threads: int = 1,
    ) -> Results:
        """The best `k` rows for `queries` (q, d) or (d,), looking at about `ef` rows (`reach.py`).

        `allowed`: rows that may be returned (none given: all); `deleted`: rows that may not. `candidates` are re-scored.
        `most`: rows that a walk among masked ones may hold (0: as the share of good ones wants it).
        InvalidRequest names what is wrong with the input.
        """
        checked_counts(k, candidates)
        asked = checked_queries(queries, self.coded)
        check_masks(allowed, deleted, len(self.graph))
        if len(self.graph) == 0:
            return empty_results(len(asked), k)
        if allowed is None and deleted is None:
            return self.walk(asked, k, ef, candidates, threads)
        return self.masked(
            asked,
            k,
            ef,
            candidates=candidates,
            allowed=allowed,
            deleted=deleted,
            good=self._good(allowed, deleted),
            plan=plan,
            most=most,
            threads=threads,
        )

    def walk(
        self, queries: Floats, k: int, ef: int, candidates: int = CANDIDATES, threads: int = 1
    ) -> Results:
        """The best `k` rows of a graph that has some, nothing forbidden; for callers that have checked all of it."""
        found = Steps(k, [self.step(k, ef, candidates)]).search(queries, self.memories, threads)
        return found.rows, found.scores

    def step(self, k: int, ef: int, candidates: int = CANDIDATES) -> Step:
        """The walk of `walk`."""
        final = candidates if self.rescore is not None else 0
        return Step(self.ground, reaching(k, ef, final, self.coded.coder.shape.metric))

    def masked(  # noqa: PLR0913 - keywords
        self,
        queries: Floats,
        k: int,
        ef: int,
        *,
        candidates: int,
        allowed: Bitmap | None,
        deleted: Bitmap | None,
        good: int,
        plan: Plan = "auto",
        most: int = 0,
        threads: int = 1,
    ) -> Results:
        """As `search`, for callers that have checked all of it and counted the `good` rows, which may be returned."""
        step = self.masked_step(
            k, ef, candidates=candidates, allowed=allowed, deleted=deleted, good=good, plan=plan, most=most
        )
        if step is None:
            return self.exact.search(
                queries, k, candidates=candidates, allowed=allowed, deleted=deleted, threads=threads
            )
        found = Steps(k, [step]).search(queries, self.memories, threads)
        again = np.flatnonzero(found.short) if plan == "auto" else ()
        if len(again):
            found.rows[again], found.scores[again] = self.exact.search(
                queries[again], k, candidates=candidates, allowed=allowed, deleted=deleted, threads=threads
            )
        return found.rows, found.scores

    def masked_step(  # noqa: PLR0913 - keywords
        self,
        k: int,
        ef: int,
        *,
        candidates: int,
        allowed: Bitmap | None,
        deleted: Bitmap | None,
        good: int,
        plan: Plan = "auto",
        most: int = 0,
    ) -> Step | None:
        """The walk of `masked`; None where a scan of the `good` rows is better."""
        count, final = len(self.graph), candidates if self.rescore is not None else 0
        need, room = min(good, max(k, final)), max(ef, k, final)
        steps = max(ef, need * count // max(1, good))
        if (
            plan == "scan"
            or good == 0
            or (plan == "auto" and good <= _SCANNED_A_STEP * steps and good < count)
        ):
            return None
        room = min(max(room, 2 * need * count // good), max(room, most or _ROOM_MOST))
        masks = (allowed, deleted)
        allow, deny = (0 if bitmap is None else bitmap.ctypes.data for bitmap in masks)
        if good < _MOSTLY * count:
            wanted = Wanted(max(ef, k), room, need, final, k, allow, deny)
        else:
            metric = self.coded.coder.shape.metric
            wanted = reaching(k, ef, final, metric, need=need, room=room, allow=allow, deny=deny)
        return Step(self.ground, wanted, masks=masks)

    def _good(self, allowed: Bitmap | None, deleted: Bitmap | None) -> int:
        """Rows that may be returned."""
        if allowed is None:
            assert deleted is not None
            return len(self.graph) - size_of(deleted)
        return size_of(allowed if deleted is None else allowed & ~deleted)
