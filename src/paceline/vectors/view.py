"""What a collection looks like at one moment: its parts and which of their rows are deleted. Immutable.

A reader takes the newest view and works with it to the end, whatever is written, sealed or joined meanwhile; a writer
makes the next one. Deleting copies the bitmap of the part (a bit a row), so that nobody sees half a write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.vectors.bitmap import Bitmap, rows_of, words_for
from paceline.vectors.filters import CheckedFilters
from paceline.vectors.metadata import Types, merged_types
from paceline.vectors.metric import Floats
from paceline.vectors.record import Key
from paceline.vectors.segment import Segment
from paceline.vectors.tail import TailRows

Rows = NDArray[np.int64]


class Part(msgspec.Struct, frozen=True, eq=False):
    """Some rows, and which of them are deleted."""

    source: Segment | TailRows
    deleted: Bitmap | None = None
    gone: int = 0
    """How many are deleted."""

    @property
    def live(self) -> int:
        """Rows that are not deleted."""
        return len(self.source) - self.gone

    def is_live(self, row: int) -> bool:
        """Whether a row is not deleted."""
        return self.deleted is None or not (int(self.deleted[row >> 6]) >> (row & 63)) & 1

    def live_rows(self) -> NDArray[np.int32]:
        """The rows that are not deleted, rising."""
        count = len(self.source)
        return np.arange(count, dtype=np.int32) if self.deleted is None else rows_of(~self.deleted, count)

    def without(self, rows: Rows) -> Part:
        """The same with `rows` deleted; those that are -1 or deleted already do not matter."""
        rows = np.unique(rows[rows >= 0])
        if self.deleted is not None and len(rows):
            rows = rows[(self.deleted[rows >> 6] >> (rows & 63).astype(np.uint64)) & np.uint64(1) == 0]
        if len(rows) == 0:
            return self
        deleted = (
            np.zeros(words_for(len(self.source)), np.uint64) if self.deleted is None else self.deleted.copy()
        )
        np.bitwise_or.at(deleted, rows >> 6, np.uint64(1) << (rows & 63).astype(np.uint64))
        return Part(self.source, deleted, self.gone + len(rows))

    def of(self, source: Segment | TailRows) -> Part:
        """The same deletions in another source of the same rows, or of these and more."""
        if self.deleted is None:
            return Part(source)
        deleted = np.zeros(words_for(len(source)), np.uint64)
        deleted[: len(self.deleted)] = self.deleted
        return Part(source, deleted, self.gone)


class View(msgspec.Struct, frozen=True, eq=False, dict=True):
    """The parts, and the number of the last write that is in them. What searches ask of it is found once."""

    sealed: tuple[Part, ...]
    tail: Part
    version: int

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """All parts, fresh records last."""
        return (*self.sealed, self.tail)

    @cached_property
    def live(self) -> int:
        """Records."""
        return sum(part.live for part in self.parts)

    @cached_property
    def types(self) -> Types:
        """Fields of the metadata and their kinds."""
        return merged_types(part.source.types for part in self.parts)

    @cached_property
    def filters(self) -> CheckedFilters:
        """Filters checked against its fields."""
        return CheckedFilters(self.types)

    def least_ef(self, recall: float) -> int:
        """How far a search has to look for this recall in the segment that is hardest; 0 if none was measured."""
        return max((segment.least_ef(recall) for segment, _ in self.segments()), default=0)

    def find(self, keys: Sequence[Key], hashes: NDArray[np.uint64]) -> list[tuple[Part, int] | None]:
        """Where each of `keys` is; None where there is no such record."""
        found: list[tuple[Part, int] | None] = [None] * len(keys)
        for part in reversed(self.parts):
            if len(part.source) == 0:
                continue
            for i, row in enumerate(part.source.find(keys, hashes)):
                if row >= 0 and found[i] is None and part.is_live(int(row)):
                    found[i] = (part, int(row))
        return found

    def sample(self, count: int, seed: int) -> Floats:
        """Vectors (n, d) of at most `count` records, drawn from all."""
        parts = [(part, part.live_rows()) for part in self.parts if part.live]
        drawn = np.sort(np.random.default_rng(seed).permutation(self.live)[:count])
        taken, first = [], 0
        for part, rows in parts:
            here = drawn[(drawn >= first) & (drawn < first + len(rows))] - first
            taken.append(part.source.vectors_of(rows[here]))
            first += len(rows)
        return np.concatenate(taken) if taken else self.tail.source.vectors_of(drawn)

    def without(self, keys: Sequence[Key], hashes: NDArray[np.uint64], *, version: int) -> View:
        """The view after `keys` are deleted."""
        sealed = tuple(part.without(part.source.find(keys, hashes)) for part in self.sealed)
        return View(sealed, self.tail.without(self.tail.source.find(keys, hashes)), version)

    def each(self, change: Callable[[Part], Part]) -> View:
        """The view with each sealed part changed."""
        return View(tuple(change(part) for part in self.sealed), self.tail, self.version)

    def segments(self) -> Iterator[tuple[Segment, Part]]:
        """The parts that are files."""
        return ((part.source, part) for part in self.sealed if isinstance(part.source, Segment))
