"""A search of a whole view: every part by its own plan, filters and namespaces as bitmaps, and the best of all."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.vectors.bitmap import Bitmap, rows_of
from paceline.vectors.courtesy import going_first
from paceline.vectors.filters import Filter
from paceline.vectors.memory import Memories
from paceline.vectors.metric import Floats
from paceline.vectors.record import Match, unpacked_metadata
from paceline.vectors.searched import Results, empty_results
from paceline.vectors.view import Part, View, part_ef

MOST_EF: Final = 10_000
_FEW: Final = 512
"""Rows that are scanned for each of many queries by itself: a tile or two."""


class Reach(msgspec.Struct, frozen=True):
    """How a search goes about it, and among what."""

    k: int
    ef: int
    candidates: int
    threads: int
    namespace: str
    filter: Filter | None
    exact: bool = False
    """Score every row that may be returned."""


class Found(msgspec.Struct, frozen=True, eq=False):
    """The best rows of all parts."""

    parts: tuple[Part, ...]
    part_of: NDArray[np.int32] | None  # (q, k) places in `parts`; None if there is no choice
    rows: NDArray[np.int32]  # (q, k), -1 where there are no more
    scores: Floats  # (q, k)

    def matches(self, query: int, include_metadata: bool, include_vectors: bool) -> list[Match]:
        """The results of one query, as callers see them."""
        rows = self.rows[query].tolist()
        if rows[-1] < 0:
            rows = rows[: rows.index(-1)]
        if not rows:  # of no part, maybe
            return []
        scores = self.scores[query].tolist()[: len(rows)]
        if self.part_of is None:  # as it mostly is
            places = [0] * len(rows)
            names = self.parts[0].source.ids_of(rows)
        else:
            places = self.part_of[query].tolist()[: len(rows)]
            names = self._names(rows, places)
        if not (include_metadata or include_vectors):
            return list(map(Match, names, scores))
        matches = []
        for row, place, name, score in zip(rows, places, names, scores, strict=True):
            source = self.parts[place].source
            metadata = unpacked_metadata(source.metadata_of(row)) if include_metadata else None
            vector = source.vectors_of(np.array([row]))[0] if include_vectors else None
            matches.append(Match(name, score, metadata, vector))
        return matches

    def _names(self, rows: list[int], places: list[int]) -> list[str]:
        """Ids of rows, asked of each part at once."""
        names = [""] * len(rows)
        for place in set(places):
            mine = [i for i, here in enumerate(places) if here == place]
            for i, name in zip(mine, self.parts[place].source.ids_of([rows[i] for i in mine]), strict=True):
                names[i] = name
        return names


def search_view(view: View, queries: Floats, reach: Reach, memories: Memories) -> Found:
    """The best of the view's records for checked `queries` (q, d) as they are stored.

    In steps of one compiled call where that may be; otherwise part by part: scans for many queries at once are better made
    for all of them together, filters have plans of their own, and walks that come short are followed by scans.
    """
    with going_first():
        if not reach.exact and reach.filter is None:
            planned = view.planned(reach.k, reach.ef, reach.candidates, reach.namespace)
            if planned is not None and (len(queries) == 1 or planned.most_scanned <= _FEW):
                found = planned.steps.search(queries, memories, reach.threads)
                if not found.is_short:
                    return Found(planned.parts, found.places, found.rows, found.scores)
        return _each_part(view, queries, reach)


def _each_part(view: View, queries: Floats, reach: Reach) -> Found:
    """As `search_view`, a call for each part."""
    parts, results, live = [], [], view.live
    for part in view.parts:
        result = _search_part(part, queries, reach, live)
        if result is not None:
            parts.append(part)
            results.append(result)
    return _best(tuple(parts), results, len(queries), reach.k)


def _search_part(part: Part, queries: Floats, reach: Reach, live: int) -> Results | None:
    if part.live == 0:
        return None
    allowed = allowed_rows(part, reach.namespace, reach.filter)
    if allowed is False:
        return None
    return part.source.search(
        queries,
        reach.k,
        ef=part_ef(reach.ef, reach.k, len(part.source), live),
        candidates=part_ef(reach.candidates, reach.k, len(part.source), live),
        allowed=None if allowed is True else allowed,
        deleted=part.deleted,
        threads=reach.threads,
        exact=reach.exact,
    )


def allowed_rows(part: Part, namespace: str, wanted: Filter | None) -> Bitmap | bool:
    """The rows of a part in a namespace that pass a filter, deleted ones too; True for all, False for none at a glance."""
    here = part.source.in_namespace(namespace)
    if here is False or wanted is None:
        return here
    passing = part.source.passing(wanted)
    return passing if here is True else passing & here


def live_rows(part: Part, namespace: str, wanted: Filter | None) -> list[int]:
    """The rows of a part in a namespace that pass a filter, without deleted ones."""
    allowed = allowed_rows(part, namespace, wanted) if part.live else False
    if allowed is False:
        return []
    if allowed is True:
        rows = part.live_rows()
    else:
        rows = rows_of(allowed if part.deleted is None else allowed & ~part.deleted, len(part.source))
    return [int(row) for row in rows]


def _best(parts: tuple[Part, ...], results: list[Results], queries: int, k: int) -> Found:
    if not results:
        return Found(parts, None, *empty_results(queries, k))
    if len(results) == 1:
        return Found(parts, None, *results[0])
    rows = np.concatenate([rows for rows, _ in results], axis=1)
    scores = np.concatenate([scores for _, scores in results], axis=1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    of = np.arange(queries)[:, None]
    return Found(parts, (best // k).astype(np.int32), rows[of, best], scores[of, best])
