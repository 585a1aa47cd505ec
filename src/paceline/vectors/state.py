"""The collection in memory: the newest view, and how writes, seals and joins make the next one.

Readers take `view` and need no lock. Whoever changes something holds `writing`; nothing here waits for a disk.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import msgspec
import numpy as np

from paceline.vectors.batch import Batch, Upserts
from paceline.vectors.bitmap import rows_of
from paceline.vectors.courtesy import give_way
from paceline.vectors.graph_plan import GraphPlan
from paceline.vectors.policy import Schema
from paceline.vectors.segment import Segment
from paceline.vectors.tail import Tail, TailRows
from paceline.vectors.view import Part, View


class Origin(msgspec.Struct, frozen=True):
    """From where on the log holds what a tail holds."""

    log: int
    version: int
    """Number of the last write before."""


class Frozen(msgspec.Struct, frozen=True, eq=False):
    """Records that were fresh and are to become a segment."""

    rows: TailRows
    origin: Origin


class State:
    """View, tail, and the tails that are not yet files; `frozen` is oldest first."""

    def __init__(
        self, schema: Schema, segments: Sequence[Part], origin: Origin, plan: GraphPlan | None = None
    ) -> None:
        """`plan`: of the graph over fresh records."""
        self.schema = schema
        self._plan = plan
        self.writing = threading.RLock()
        self.frozen: list[Frozen] = []
        self.tail = Tail(schema, plan)
        self._origin = origin
        self.view = View(tuple(segments), Part(self.tail.visible()), origin.version)

    def apply(self, batch: Batch, version: int) -> None:
        """Make a logged write visible, all of it at once."""
        view = self.view.without(batch.keys, batch.hashes, version=version)
        if isinstance(batch, Upserts):
            give_way()
            self.tail.append(batch)
            view = View(view.sealed, view.tail.of(self.tail.visible()), version)
        self.view = view.made_ready(self.view)

    def freeze(self, log: int) -> None:
        """Begin a new tail, whose writes are in log `log` and later; the old one waits to become a segment."""
        rows = self.view.tail.source
        assert isinstance(rows, TailRows)
        self.frozen.append(Frozen(rows, self._origin))
        self._origin = Origin(log, self.view.version)
        self.tail = Tail(self.schema, self._plan)
        self.view = View((*self.view.sealed, self.view.tail), Part(self.tail.visible()), self.view.version)

    def covered(self) -> Origin:
        """From where on the log is still needed: all before is in segments."""
        return self.frozen[0].origin if self.frozen else self._origin

    def sealed_as(self, frozen: Frozen, segment: Segment | None) -> None:
        """A frozen tail, the oldest, is now `segment`; None if it held no record."""
        assert self.frozen[0] is frozen
        kept = []
        for part in self.view.sealed:
            if part.source is not frozen.rows:
                kept.append(part)
            elif segment is not None:
                kept.append(part.of(segment))
        self.view = View(tuple(kept), self.view.tail, self.view.version)
        del self.frozen[0]

    def joined_as(self, inputs: Sequence[Part], segment: Segment | None) -> bool:
        """The live rows of `inputs`, parts of a former view, are now `segment`; what was deleted since is deleted there.

        False, and nothing done, if one of them was set aside meanwhile.
        """
        now = {id(part.source): part for part in self.view.sealed}
        if any(id(part.source) not in now for part in inputs):
            return False
        joined, first = None if segment is None else Part(segment), 0
        for before in inputs:
            after, rows = now[id(before.source)], before.live_rows()
            if joined is not None and after.deleted is not None and after.deleted is not before.deleted:
                fresh = after.deleted if before.deleted is None else after.deleted & ~before.deleted
                gone = rows_of(fresh, len(before.source))
                joined = joined.without(first + np.searchsorted(rows, gone).astype(np.int64))
            first += len(rows)
        gone_sources = {id(part.source) for part in inputs}
        kept = [part for part in self.view.sealed if id(part.source) not in gone_sources]
        self.view = View(
            (*([joined] if joined is not None else []), *kept), self.view.tail, self.view.version
        )
        return True

    def recoded_as(self, before: Segment, after: Segment) -> bool:
        """The rows of `before` are now those of `after`, by the same numbers. False if it was set aside meanwhile."""
        if all(part.source is not before for part in self.view.sealed):
            return False
        self.view = self.view.each(lambda part: part.of(after) if part.source is before else part)
        return True

    def set_aside(self, segment: Segment) -> None:
        """Go on without a segment."""
        kept = tuple(part for part in self.view.sealed if part.source is not segment)
        self.view = View(kept, self.view.tail, self.view.version)
