"""What a collection looks like at one moment: its parts and which of their rows are deleted. Immutable.

A reader takes the newest view and works with it to the end, whatever is written, sealed or joined meanwhile; a writer
makes the next one. Deleting copies the bitmap of the part (a bit a row), so that nobody sees half a write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.vectors.bitmap import Bitmap, rows_of, words_for
from paceline.vectors.courtesy import courteously
from paceline.vectors.filters import CheckedFilters
from paceline.vectors.metadata import Types, merged_types
from paceline.vectors.metric import Floats
from paceline.vectors.record import Key
from paceline.vectors.segment import Segment
from paceline.vectors.steps import Steps
from paceline.vectors.tail import TailRows

Rows = NDArray[np.int64]

_EF_GROWS: Final = 0.5
"""Power of the rows by which the ef of a part grows. One graph of WordNet's glosses takes 33 of 8,192, 42 of 16,384, 48 of
32,768 and 100 of 115,659 for a recall of 0.98, a power of 0.4; but of the best of all a small part holds the first few of its
own, which are found sooner. Beside a graph of 100,000, half deleted, three of 17,000: 0.9936 with 4,850 queries/s by 0.4,
0.9926 with 5,350 by 0.5; beside 115,659 two of 16,400 and 1,600: 0.9978 by either, 0.9976 by 0.6."""
_LEAST: Final = 16
_PLANS: Final = 8
"""Kept of a view: queries mostly ask for the same."""
_GROWN: Final = 256
"""Rows of a graph: as many are scanned in a tenth of the time of a search."""


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


class Planned(msgspec.Struct, frozen=True, eq=False):
    """How to search all parts in one call: each step, and the part that it is of."""

    parts: tuple[Part, ...]
    steps: Steps
    most_scanned: int
    """Rows of the longest scan."""


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

    def planned(self, k: int, ef: int, candidates: int, namespace: str) -> Planned | None:
        """The steps of a search without a filter; None if some rows must be chosen first, or there is nothing to search.

        Found anew once the graph of fresh records has grown a little: rows that came under it are scanned until then.
        """
        key = k, ef, candidates, namespace, self.tail.source.linked // _GROWN
        try:
            return self._plans[key]
        except KeyError:
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            return self._plans.setdefault(key, self._plan(k, ef, candidates, namespace))

    def made_ready(self, before: View) -> View:
        """Itself, with the plans that were asked of the view `before`: whoever writes makes them, not the searches."""
        for k, ef, candidates, namespace, _ in list(before._plans):
            self.planned(k, ef, candidates, namespace)
        for recall in list(before._least_efs):
            self.least_ef(recall)
        return self

    def _plan(self, k: int, ef: int, candidates: int, namespace: str) -> Planned | None:
        parts, steps = [], []
        for part in self.parts:
            here = part.live > 0 and part.source.in_namespace(namespace)
            if here is False:
                continue
            if here is not True:
                return None
            rows = len(part.source)
            far, kept = (part_ef(wanted, k, rows, self.live) for wanted in (ef, candidates))
            for step in part.source.steps(k, far, kept, part.deleted):
                parts.append(part)
                steps.append(step)
        return Planned(tuple(parts), Steps(k, steps), max(step.count for step in steps)) if steps else None

    @cached_property
    def _plans(self) -> dict[tuple[int, int, int, str, int], Planned | None]:
        return {}

    def least_ef(self, recall: float) -> int:
        """How far a search has to look for this recall in the segment that is hardest; 0 if none was measured."""
        known = self._least_efs.get(recall)
        if known is None:
            known = max((segment.least_ef(recall) for segment, _ in self.segments()), default=0)
            self._least_efs[recall] = known
        return known

    @cached_property
    def _least_efs(self) -> dict[float, int]:
        return {}

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
        sealed = tuple(part.without(part.source.find(keys, hashes)) for part in courteously(self.sealed, 1))
        return View(sealed, self.tail.without(self.tail.source.find(keys, hashes)), version)

    def each(self, change: Callable[[Part], Part]) -> View:
        """The view with each sealed part changed."""
        return View(tuple(change(part) for part in self.sealed), self.tail, self.version)

    def segments(self) -> Iterator[tuple[Segment, Part]]:
        """The parts that are files."""
        return ((part.source, part) for part in self.sealed if isinstance(part.source, Segment))


def part_ef(ef: int, k: int, rows: int, live: int) -> int:
    """How many rows to look at in a graph of `rows`, for what `ef` finds in one graph over all `live`.

    A smaller graph finds the same share of its nearest by looking at fewer.
    """
    return ef if rows >= live else max(round(ef * (rows / live) ** _EF_GROWS), min(ef, max(k, _LEAST)))
