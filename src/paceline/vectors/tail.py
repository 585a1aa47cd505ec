"""Fresh records in memory: searchable as soon as they are here, and written as a segment once there are many.

They are scanned, until there are enough for a graph; the graph grows behind the writes, so that what is scanned stays few.

Rows are only added. What a reader sees is a `TailRows`: the first rows, up to the last write that was published; the
arrays behind it are replaced, not changed, when they grow. One writer at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from paceline.vectors.batch import Upserts
from paceline.vectors.bitmap import Bitmap, among, bitmap_of, cut, size_of
from paceline.vectors.codes import Coded, Coder, aligned_rows
from paceline.vectors.columns import Columns
from paceline.vectors.courtesy import give_way
from paceline.vectors.exact import ExactSearch
from paceline.vectors.filters import Filter
from paceline.vectors.fresh_graph import FreshGraph
from paceline.vectors.graph import Graph
from paceline.vectors.graph_plan import GraphPlan
from paceline.vectors.graph_search import GraphSearch
from paceline.vectors.metadata import Types, kind_of, merged_types
from paceline.vectors.metric import Floats
from paceline.vectors.policy import Schema
from paceline.vectors.record import Key, unpacked_metadata
from paceline.vectors.searched import MOST_CANDIDATES, Results, better, empty_results
from paceline.vectors.steps import Step

_ROWS_AT_FIRST: Final = 1024
"""Rows that are scanned as they are; more have a coarse copy, learned anew each time the room grows."""
_GROWS: Final = 4
"""Times the room, once it is too little: pages that nobody touches are not there."""
_LEARNED_FROM: Final = 1024
_CODED: Final = frozenset({"int8", "binary"})
"""Precisions under which scans, too, take the coarse copy."""
_BLOCK: Final = 512
"""Rows whose metadata become columns once there are so many; of the rest each is asked by itself."""


class Tail:
    """Fresh records, in the order of their writes."""

    def __init__(self, schema: Schema, plan: GraphPlan | None = None) -> None:
        """Under a graph as the `plan` says; without one all are scanned."""
        self.schema = schema
        self.plan = plan
        self.coder = Coder.learn(np.ones((1, schema.stored), np.float32), "fp32", schema.metric)
        self.count = 0
        self.keys: list[Key] = []
        self.metadata: list[bytes] = []
        self.row_of: dict[Key, int] = {}
        """The last row of each name, deleted or not."""
        self.types: Types = {}
        self.blocks: list[Columns] = []
        """Columns of each full block that a filter has asked for."""
        self.blocks_lock = threading.Lock()
        self.rows = aligned_rows(_ROWS_AT_FIRST, self.coder.row_bytes)
        self.lengths: Floats = np.ones(_ROWS_AT_FIRST, np.float32)
        self.hashes: NDArray[np.uint64] = np.zeros(_ROWS_AT_FIRST, np.uint64)
        self.namespaces: dict[str, int] = {}
        """Those there are, and the place by which `namespace_of` names each."""
        self.namespace_of: NDArray[np.uint32] = np.zeros(_ROWS_AT_FIRST, np.uint32)
        self.coarse: Coded | None = None
        self.scan = ExactSearch(Coded(self.coder, self.rows))
        """Of all rows there is room for: who scans says which."""
        self.graph: FreshGraph | None = None
        self._growing = threading.Lock()  # protects `graph` while it grows or moves

    def append(self, batch: Upserts) -> None:
        """Add the records, for readers to see in the next `visible`; those they replace are the caller's to delete."""
        first, end = self.count, self.count + len(batch.keys)
        rows = self.coder.encode(batch.vectors)
        give_way()
        has_grown = self._make_room(end)
        self.rows[first:end] = rows
        self.hashes[first:end] = batch.hashes
        places = self.namespaces
        self.namespace_of[first:end] = [places.setdefault(space, len(places)) for space, _ in batch.keys]
        if self.schema.metric == "cosine":
            self.lengths[first:end] = np.linalg.norm(batch.vectors, axis=1)
        if has_grown:
            self._move(end)
        elif self.coarse is not None:
            self.coarse.rows[first:end] = self.coarse.coder.encode(batch.vectors)
        give_way()
        self.keys += batch.keys
        self.metadata += batch.metadata
        self.row_of.update(zip(batch.keys, range(first, end), strict=True))
        self._learn_types(batch.metadata)
        self.count = end

    def grow(self, most: int) -> bool:
        """Bring at most `most` more rows under the graph; whether others wait. For one thread, beside the writer."""
        with self._growing:
            plan, end = self.plan, self.count
            if plan is None or end < plan.least_rows:
                return False
            if self.graph is None:
                self.graph = FreshGraph.of(self._searched(), plan)
            if self.graph.count < end:
                self.graph.grow(self.coder, self.rows, min(end, self.graph.count + most))
            return self.graph.count < self.count

    @property
    def waiting(self) -> int:
        """Rows that are scanned and wait for the graph."""
        if self.plan is None or self.count < self.plan.least_rows:
            return 0
        return self.count - (0 if self.graph is None else self.graph.count)

    def _make_room(self, wanted: int) -> bool:
        """Room for `wanted` rows; whether there was too little."""
        room = len(self.rows)
        if wanted <= room:
            return False
        while room < wanted:
            room *= _GROWS
        rows, kept = aligned_rows(room, self.coder.row_bytes), self.count
        rows[:kept] = self.rows[:kept]
        self.rows = rows
        self.lengths = np.concatenate([self.lengths[:kept], np.ones(room - kept, np.float32)])
        self.hashes = np.concatenate([self.hashes[:kept], np.zeros(room - kept, np.uint64)])
        self.namespace_of = np.concatenate([self.namespace_of[:kept], np.zeros(room - kept, np.uint32)])
        return True

    def _move(self, count: int) -> None:
        """Into arrays with more room: a coarse copy of the first `count` rows, with a scale learned from them; the graph."""
        coarse = None
        if self.schema.precision in _CODED:
            sample = self.coder.decode(self.rows[: count : count // _LEARNED_FROM + 1])
            coder = Coder.learn(sample, "int8", self.schema.metric)
            rows = aligned_rows(len(self.rows), coder.row_bytes)
            rows[:count] = coder.encode(self.coder.decode(self.rows[:count]))
            coarse = Coded(coder, rows)
        fine = Coded(self.coder, self.rows)
        with self._growing:
            self.coarse = coarse
            self.scan = ExactSearch(fine) if coarse is None else ExactSearch(coarse, fine)
            if self.graph is not None:
                self.graph = self.graph.moved(self._searched(), fine)

    def _searched(self) -> Coded:
        """The rows that the graph is walked on."""
        return Coded(self.coder, self.rows) if self.coarse is None else self.coarse

    def _learn_types(self, metadata: list[bytes]) -> None:
        fresh = [
            {
                field: {kind}
                for field, value in (unpacked_metadata(packed) or {}).items()
                if (kind := kind_of(value))
            }
            for packed in set(metadata)
        ]
        merged = merged_types([self.types, *fresh])
        if merged != self.types:
            self.types = merged

    def visible(self) -> TailRows:
        """All that is here now."""
        return TailRows(self)


class TailRows:
    """The rows that were there when it was made; safe for any number of threads beside the writer."""

    def __init__(self, tail: Tail) -> None:
        count = tail.count
        self.tail = tail
        self.count = count
        self.types = tail.types
        self.fine = Coded(tail.coder, tail.rows[:count])
        self._scan = tail.scan
        self.lengths = tail.lengths[:count]
        self.hashes = tail.hashes[:count]
        self._namespace_of = tail.namespace_of[:count]

    def __len__(self) -> int:
        return self.count

    def graph(self) -> Graph | None:
        """Of all rows, if it has come so far."""
        graph = self.tail.graph
        return graph.graph() if graph is not None and graph.count == self.count else None

    def search(  # noqa: PLR0913 - keywords
        self,
        queries: Floats,
        k: int,
        *,
        ef: int,
        candidates: int,
        allowed: Bitmap | None,
        deleted: Bitmap | None,
        threads: int,
        exact: bool = False,
    ) -> Results:
        """The best `k` rows that are allowed and not deleted."""
        if self.count == 0:
            return empty_results(len(queries), k)
        enough = self._enough(k, candidates)
        search, linked = (None, 0) if exact else self._graph_search()
        fresh = among(np.arange(linked, self.count, dtype=np.int32), allowed, deleted)
        if search is None:
            return self._scan.scan(queries, k, fresh, enough, threads)
        found = search.search(
            queries,
            k,
            ef,
            candidates=enough,
            allowed=cut(allowed, linked),
            deleted=cut(deleted, linked),
            threads=threads,
        )
        if len(fresh) == 0:
            return found
        return better(found, self._scan.scan(queries, k, fresh, enough, threads), k)

    def steps(self, k: int, ef: int, candidates: int, deleted: Bitmap | None) -> tuple[Step, ...]:
        """The steps of `search` without a filter; a walk of them may come short, what is then done `search` knows."""
        enough = self._enough(k, candidates)
        search, linked = self._graph_search()
        rows = None
        if deleted is not None:
            rows = among(np.arange(linked, self.count, dtype=np.int32), None, deleted)
        fresh = self._scan.step(k, enough, rows=rows, first=linked, end=self.count)
        if search is None:
            return (fresh,)
        walk: Step | None
        if deleted is None:
            walk = search.step(k, ef, enough)
        else:
            hidden = cut(deleted, linked)
            assert hidden is not None
            walk = search.masked_step(
                k, ef, candidates=enough, allowed=None, deleted=hidden, good=linked - size_of(hidden)
            ) or search.exact.live_step(k, enough, hidden)
        return (walk,) if fresh.count == 0 else (walk, fresh)

    def _enough(self, k: int, candidates: int) -> int:
        return min(MOST_CANDIDATES, max(candidates, 2 * k))

    @property
    def linked(self) -> int:
        """Rows that are in the graph now."""
        return self._graph_search()[1]

    def _graph_search(self) -> tuple[GraphSearch | None, int]:
        """The search of the rows that are in the graph, and how many; None if it has none or is ahead of this view."""
        graph = self.tail.graph
        search = None if graph is None else graph.search
        linked = 0 if search is None else len(search.graph)
        return (search, linked) if 0 < linked <= self.count else (None, 0)

    def key_of(self, row: int) -> Key:
        """Who a row is."""
        return self.tail.keys[row]

    def ids_of(self, rows: Sequence[int]) -> list[str]:
        """The ids of rows."""
        return [self.tail.keys[row][1] for row in rows]

    def find(self, keys: Sequence[Key], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:  # noqa: ARG002 - as in Segment
        """The last row of each of `keys`, deleted or not; -1 where there is none."""
        return np.fromiter(map(self._row_of, keys), np.int64, len(keys))

    def _row_of(self, key: Key) -> int:
        row = self.tail.row_of.get(key, -1)
        if row < self.count:
            return row
        # A writer is ahead of what was published: the row before the newest is only in the list.
        return next((i for i in range(self.count - 1, -1, -1) if self.tail.keys[i] == key), -1)

    def metadata_of(self, row: int) -> bytes:
        """Packed metadata of a row."""
        return self.tail.metadata[row]

    def vectors_of(self, rows: NDArray[Any]) -> Floats:
        """The vectors (n, d) of `rows`."""
        vectors = self.fine.coder.decode(self.fine.rows[rows])
        return vectors * self.lengths[rows][:, None] if self.tail.schema.metric == "cosine" else vectors

    def in_namespace(self, namespace: str) -> Bitmap | bool:
        """The rows in a namespace; True for all, False for none."""
        place = self.tail.namespaces.get(namespace)
        if place is None:
            return False
        if len(self.tail.namespaces) == 1:
            return True
        mask = self._namespace_masks.get(place)
        if mask is None:
            here = self._namespace_of == place
            mask = True if here.all() else bitmap_of(here) if here.any() else False
            self._namespace_masks[place] = mask
        return mask

    @cached_property
    def _namespace_masks(self) -> dict[int, Bitmap | bool]:
        return {}

    def passing(self, wanted: Filter) -> Bitmap:
        """The rows whose metadata pass a filter."""
        with self.tail.blocks_lock:
            blocks = self.tail.blocks
            for first in range(len(blocks) * _BLOCK, self.count - _BLOCK + 1, _BLOCK):
                block = self.tail.metadata[first : first + _BLOCK]
                blocks.append(Columns.build([unpacked_metadata(packed) for packed in block]))
        full = self.count // _BLOCK
        words = [block.mask(wanted) for block in blocks[:full]]
        rest = [
            wanted.matches(unpacked_metadata(self.tail.metadata[i])) for i in range(full * _BLOCK, self.count)
        ]
        return np.concatenate([*words, bitmap_of(np.array(rest, np.bool_))])
