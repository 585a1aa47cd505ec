"""A search as steps: walks of graphs and scans of rows, of one part or of many, done in one compiled call.

One call for all parts matters beside writes: each would take the interpreter's lock again, and wait for whoever has it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.vectors.bitmap import Bitmap
from paceline.vectors.codes import Coded, Coder
from paceline.vectors.compiled import records as of
from paceline.vectors.compiled.steps import search_steps
from paceline.vectors.graph import Graph, Ints
from paceline.vectors.memory import Memories, Wanted
from paceline.vectors.metric import Floats
from paceline.vectors.searched import in_parts

_STEP: Final = struct.Struct(f"{of.STEP_FIELDS}q")
_NO_NEAR: Final = np.zeros((1, 0), np.int32)
_NO_SCORES: Final = np.zeros((1, 0), np.float32)


class Ground(msgspec.Struct, frozen=True, eq=False):
    """Rows with their finer copy and graph, as compiled functions know them: by the addresses of records."""

    rows: int
    coder: Coder
    graph_at: int  # 0 without a graph
    sides_at: int
    sides: NDArray[np.int64]  # (2, SIDE) codes that are searched and those that are re-scored
    held: tuple[object, ...]
    """What the addresses need."""

    @classmethod
    def of(cls, coded: Coded, rescore: Coded | None, graph: Graph | None = None) -> Self:
        """Of encoded rows; without a finer copy they are their own."""
        fine = coded if rescore is None else rescore
        sides = np.stack([coded.side(), fine.side()])
        record = None if graph is None else graph.record()
        return cls(
            len(coded),
            coded.coder,
            0 if record is None else record.ctypes.data,
            sides.ctypes.data,
            sides,
            (coded, fine, graph, record),
        )


class Step(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A walk, or a scan of `count` rows: those listed, or from `first` on."""

    ground: Ground
    wanted: Wanted
    is_walk: bool = True
    listed: Ints | None = None
    first: int = 0
    count: int = 0
    masks: tuple[Bitmap | None, ...] = ()
    """Bitmaps that `wanted` names by their addresses."""

    def write(self, table: NDArray[np.int64], place: int, queries_at: int) -> None:
        """Into a row of the table that compiled functions read."""
        ground, wanted, listed = self.ground, self.wanted, self.listed
        _STEP.pack_into(
            table.data,
            place * _STEP.size,
            wanted.ef,
            wanted.room,
            wanted.need,
            wanted.final,
            wanted.top,
            wanted.allow,
            wanted.deny,
            ground.graph_at if self.is_walk else 0,
            ground.sides_at,
            queries_at,
            0 if listed is None else listed.ctypes.data,
            self.first,
            self.count,
        )


class Stepped(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Results (q, k) of steps: rows, -1 where there are no more, scores, and of which step each is (one: not told)."""

    rows: Ints
    scores: Floats
    places: Ints | None
    short: NDArray[np.int8]  # (q,) 1 where a walk found fewer rows than it needs


class _Work(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What threads share that do parts of the same."""

    queries: Floats
    table: NDArray[np.int64]  # (steps, STEP_FIELDS)
    rows: int  # of the largest ground
    room: int  # of the largest pool
    memories: Memories
    found: Stepped


def stepped(
    queries: Floats, k: int, steps: Sequence[Step], memories: Memories, threads: int = 1
) -> Stepped:
    """The best `k` rows of all `steps`, one at least, for checked `queries` (q, d)."""
    count = len(queries)
    found = Stepped(
        np.empty((count, k), np.int32),
        np.empty((count, k), np.float32),
        None if len(steps) == 1 else np.empty((count, k), np.int32),
        np.empty(count, np.int8),
    )
    table = np.empty((len(steps), of.STEP_FIELDS), np.int64)
    at, rows, room, turned = queries.ctypes.data, 0, 0, []
    for place, step in enumerate(steps):
        ground = step.ground
        if ground.coder.shape.precision == "binary":
            turned.append(ground.coder.turned(queries))
            step.write(table, place, turned[-1].ctypes.data)
        else:
            step.write(table, place, at)
        rows, room = max(rows, ground.rows), max(room, step.wanted.room)
    in_parts(_search, _Work(queries, table, rows, room, memories, found), count, threads)
    return found


def _search(work: _Work, begin: int, end: int) -> None:
    """Write the results of some queries, on this thread."""
    found, places = work.found, work.found.places
    if places is None:
        near, near_scores, places = _NO_NEAR, _NO_SCORES, _NO_NEAR
    else:
        steps, k = len(work.table), found.rows.shape[1]
        near, near_scores = np.empty((steps, k + 1), np.int32), np.empty((steps, k), np.float32)
    memory = work.memories.taken(work.rows, work.queries.shape[1])
    memory.make_room(work.room)
    search_steps(
        work.table,
        memory.request,
        memory.graph,
        memory.sides,
        memory.states[0],
        near,
        near_scores,
        work.queries,
        begin,
        end,
        found.rows,
        found.scores,
        places,
        found.short,
    )
    work.memories.give_back(memory)
