"""Fresh records in memory: searchable as soon as they are here, exactly, and written as a segment once there are many.

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
from paceline.vectors.bitmap import Bitmap, bitmap_of
from paceline.vectors.codes import Coded, Coder, Rows, aligned_rows
from paceline.vectors.columns import Columns
from paceline.vectors.exact import ExactSearch
from paceline.vectors.filters import Filter
from paceline.vectors.metadata import Types, kind_of, merged_types
from paceline.vectors.metric import Floats
from paceline.vectors.policy import Schema
from paceline.vectors.record import Key, unpacked_metadata
from paceline.vectors.searched import MOST_CANDIDATES, Results, empty_results

_ROWS_AT_FIRST: Final = 1024
"""Rows that are scanned as they are; more have a coarse copy, learned anew each time they have doubled."""
_LEARNED_FROM: Final = 1024
_BLOCK: Final = 512
"""Rows whose metadata become columns once there are so many; of the rest each is asked by itself."""


class Tail:
    """Fresh records, in the order of their writes."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
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

    def append(self, batch: Upserts) -> None:
        """Add the records, for readers to see in the next `visible`; those they replace are the caller's to delete."""
        first, end = self.count, self.count + len(batch.keys)
        rows = self.coder.encode(batch.vectors)
        self._make_room(end, rows)
        self.rows[first:end] = rows
        self.hashes[first:end] = batch.hashes
        places = self.namespaces
        self.namespace_of[first:end] = [places.setdefault(space, len(places)) for space, _ in batch.keys]
        if self.schema.metric == "cosine":
            self.lengths[first:end] = np.linalg.norm(batch.vectors, axis=1)
        if self.coarse is not None:
            self.coarse.rows[first:end] = self.coarse.coder.encode(batch.vectors)
        self.keys += batch.keys
        self.metadata += batch.metadata
        self.row_of.update(zip(batch.keys, range(first, end), strict=True))
        self._learn_types(batch.metadata)
        self.count = end

    def _make_room(self, wanted: int, fresh: Rows) -> None:
        """Room for `wanted` rows, `fresh` the last of them."""
        room = len(self.rows)
        if wanted <= room:
            return
        while room < wanted:
            room *= 2
        rows, kept = aligned_rows(room, self.coder.row_bytes), self.count
        rows[:kept] = self.rows[:kept]
        self.rows = rows
        self.lengths = np.concatenate([self.lengths[:kept], np.ones(room - kept, np.float32)])
        self.hashes = np.concatenate([self.hashes[:kept], np.zeros(room - kept, np.uint64)])
        self.namespace_of = np.concatenate([self.namespace_of[:kept], np.zeros(room - kept, np.uint32)])
        if self.schema.precision in {"int8", "binary"}:
            sample = np.concatenate([rows[: kept : kept // _LEARNED_FROM + 1], fresh[:_LEARNED_FROM]])
            coder = Coder.learn(self.coder.decode(sample), "int8", self.schema.metric)
            coarse = aligned_rows(room, coder.row_bytes)
            coarse[:kept] = coder.encode(self.coder.decode(rows[:kept]))
            self.coarse = Coded(coder, coarse)

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
        self.coarse = None if tail.coarse is None else Coded(tail.coarse.coder, tail.coarse.rows[:count])
        self.lengths = tail.lengths[:count]
        self.hashes = tail.hashes[:count]
        self._namespace_of = tail.namespace_of[:count]

    def __len__(self) -> int:
        return self.count

    @cached_property
    def _exact(self) -> ExactSearch:
        if self.coarse is None:
            return ExactSearch(self.fine)
        return ExactSearch(self.coarse, self.fine)

    def search(  # noqa: PLR0913 - keywords
        self,
        queries: Floats,
        k: int,
        *,
        ef: int,  # noqa: ARG002 - of a graph, which there is none
        candidates: int,
        allowed: Bitmap | None,
        deleted: Bitmap | None,
        threads: int,
        exact: bool = False,  # noqa: ARG002 - it is in any case
    ) -> Results:
        """The best `k` rows that are allowed and not deleted."""
        if self.count == 0:
            return empty_results(len(queries), k)
        enough = min(MOST_CANDIDATES, max(candidates, 2 * k))
        if allowed is None and deleted is None:
            return self._exact.scan(queries, k, None, enough, threads)
        return self._exact.search(
            queries, k, candidates=enough, allowed=allowed, deleted=deleted, threads=threads
        )

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
