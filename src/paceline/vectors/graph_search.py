"""Search of a segment through its graph, with filters and tombstones, re-scored: `GraphSearch.search`.

A filtered search walks through forbidden rows and widens until it has met enough that are allowed. Where that would
cost more than scoring every allowed row, or the walk ran dry, the allowed rows are scanned instead, so that recall holds
whatever the filter.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from paceline.base.errors import InvalidRequest
from paceline.vectors.bitmap import Bitmap, size_of
from paceline.vectors.codes import Coded
from paceline.vectors.compiled.walk import search_graph
from paceline.vectors.exact import ExactSearch
from paceline.vectors.graph import Graph, Ints
from paceline.vectors.memory import Memory
from paceline.vectors.metric import Floats
from paceline.vectors.searched import (
    CANDIDATES,
    Results,
    checked_counts,
    checked_masks,
    checked_queries,
    empty_results,
    in_parts,
)

Plan = Literal["auto", "walk", "scan"]
_ROOM_MOST: Final = 4096
_SCANNED_A_STEP: Final = 80
"""Allowed rows that are scanned in the time a walk takes for one row of its pool: of 115,659 vectors of 384 bytes the two
plans cost the same where 17 % are allowed, 20,000 rows against a pool of 190; less, as a single query scans slower."""


class GraphSearch:
    """Searches one segment; safe for any number of threads at once. `rescore` is a finer copy of the same rows."""

    def __init__(
        self,
        graph: Graph,
        coded: Coded,
        rescore: Coded | None = None,
        *,
        room: int = 0,
        before: GraphSearch | None = None,
    ) -> None:
        """`room`: what a graph that grows may grow to; `before` searches fewer of its rows, and hands over its memory."""
        for name, rows in (("codes", coded), ("re-scoring copy", rescore)):
            if rows is not None and len(rows) != len(graph):
                raise InvalidRequest(
                    f"the graph has {len(graph)} rows, the {name} {len(rows)}; encode the same vectors"
                )
        self.graph = graph
        self.coded = coded
        self.rescore = rescore
        self.exact = ExactSearch(coded, rescore)
        fine = coded if rescore is None else rescore
        self._graph = graph.record()
        self._sides = np.stack([coded.side(), fine.side()])
        self._coders = (coded.coder, fine.coder)
        self._free: list[Memory] = [] if before is None else before._free  # noqa: SLF001 - one of us
        self._room = max(room, len(graph))

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
        """The best `k` rows for `queries` (q, d) or (d,), looking at `ef` rows at least.

        `allowed`: rows that may be returned (none given: all); `deleted`: rows that may not. `candidates` are re-scored.
        `most`: rows that a walk among masked ones may hold (0: as the share of good ones wants it).
        InvalidRequest names what is wrong with the input.
        """
        checked_counts(k, candidates)
        asked = checked_queries(queries, self.coded)
        masks = checked_masks(allowed, deleted, len(self.graph))
        if allowed is None and deleted is None and len(self.graph):
            return self.walk(asked, k, ef, candidates, threads)
        if len(self.graph) == 0:
            return empty_results(len(asked), k)
        final = candidates if self.rescore is not None else 0
        need, room, good = 0, max(ef, k, final), len(self.graph)
        if allowed is not None or deleted is not None:
            good = self._good(allowed, deleted)
            need = min(good, max(k, final))
            room = min(max(room, 2 * need * len(self.graph) // max(1, good)), max(room, most or _ROOM_MOST))
        steps = max(ef, need * len(self.graph) // max(1, good))
        if (
            plan == "scan"
            or good == 0
            or (plan == "auto" and good <= _SCANNED_A_STEP * steps and good < len(self.graph))
        ):
            return self.exact.search(
                asked, k, candidates=candidates, allowed=allowed, deleted=deleted, threads=threads
            )
        ids, scores, short = self._walked(asked, k, (max(ef, k), room, need, final), masks, threads)
        if need and plan == "auto" and short.any():
            again = np.flatnonzero(short)
            ids[again], scores[again] = self.exact.search(
                asked[again], k, candidates=candidates, allowed=allowed, deleted=deleted, threads=threads
            )
        return ids, scores

    def walk(self, asked: Floats, k: int, ef: int, candidates: int = CANDIDATES, threads: int = 1) -> Results:
        """The best `k` rows of a graph that has some, nothing forbidden; for callers that have checked all of it."""
        final = candidates if self.rescore is not None else 0
        return self._walked(asked, k, (max(ef, k), max(ef, k, final), 0, final), (0, 0), threads)[:2]

    def _walked(
        self,
        asked: Floats,
        k: int,
        reach: tuple[int, int, int, int],
        masks: tuple[int, int],
        threads: int,
    ) -> tuple[Ints, Floats, NDArray[np.int8]]:
        """Rows and scores (q, k), and which queries came short; `reach`: ef, room, need, final (`Memory.ask`)."""
        turned = self.coded.coder.turned(asked)
        ids, scores = np.empty((len(asked), k), np.int32), np.empty((len(asked), k), np.float32)
        short = np.zeros(len(asked), np.int8)
        ef, room, need, final = reach

        def part(which: slice) -> None:
            memory = self._memory()
            memory.ask(ef=ef, room=room, need=need, final=final, top=k, masks=masks)
            search_graph(
                self._graph,
                self._sides,
                memory.request,
                memory.states[0],
                turned[which],
                asked[which],
                ids[which],
                scores[which],
                short[which],
            )
            self._free.append(memory)

        in_parts(part, len(asked), threads)
        return ids, scores, short

    def _memory(self) -> Memory:
        """A free one; there come to be as many as threads search at once."""
        try:
            return self._free.pop()
        except IndexError:
            return Memory(self._room, self._coders)

    def _good(self, allowed: Bitmap | None, deleted: Bitmap | None) -> int:
        """Rows that may be returned."""
        if allowed is None:
            assert deleted is not None
            return len(self.graph) - size_of(deleted)
        return size_of(allowed if deleted is None else allowed & ~deleted)
