"""A search as steps: walks of graphs and scans of rows, of one part or of many, done in one compiled call.

One call for all parts matters beside writes: each would take the interpreter's lock again, and wait for whoever has it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, Self

import msgspec
import numpy as np
from msgspec.structs import astuple
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

    @property
    def turns(self) -> bool:
        """Whether its codes want queries other than they are."""
        return self.ground.coder.shape.precision == "binary"

    def write(self, table: NDArray[np.int64], place: int) -> None:
        """Into a row of the table that compiled functions read."""
        ground, wanted, listed = self.ground, self.wanted, self.listed
        _STEP.pack_into(
            table.data,
            place * _STEP.size,
            *astuple(wanted),
            ground.graph_at if self.is_walk else 0,
            ground.sides_at,
            0,
            0 if listed is None else listed.ctypes.data,
            self.first,
            self.count,
        )


class Steps:
    """Some steps, one at least, for any queries, by any number of threads."""

    def __init__(self, k: int, steps: Sequence[Step]) -> None:
        self.k = k
        self.rows, self.room = steps[0].ground.rows, steps[0].wanted.room
        for step in steps[1:]:
            self.rows, self.room = max(self.rows, step.ground.rows), max(self.room, step.wanted.room)
        self._steps = steps
        self._turning = [place for place, step in enumerate(steps) if step.turns]
        self._table = np.empty((len(steps), of.STEP_FIELDS), np.int64)
        for place, step in enumerate(steps):
            step.write(self._table, place)

    def __len__(self) -> int:
        return len(self._steps)

    def search(self, queries: Floats, memories: Memories, threads: int = 1) -> Stepped:
        """The best k rows of all steps for checked `queries` (q, d)."""
        count, k = len(queries), self.k
        found = Stepped(
            np.empty((count, k), np.int32),
            np.empty((count, k), np.float32),
            None if len(self) == 1 else np.empty((count, k), np.int32),
            np.empty(count, np.int8),
        )
        table, turned = self._table, []
        if self._turning:
            table = table.copy()
            for place in self._turning:
                turned.append(self._steps[place].ground.coder.turned(queries))
                table[place, of.QUERIES_AT] = turned[-1].ctypes.data
        work = _Work(self, queries, table, memories, found)
        if count == 1:
            _search(work, 0, 1)
        else:
            in_parts(_search, work, count, threads)
        return found


class Stepped(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Results (q, k) of steps: rows, -1 where there are no more, scores, and of which step each is (one: not told)."""

    rows: Ints
    scores: Floats
    places: Ints | None
    short: NDArray[np.int8]  # (q,) 1 where a walk found fewer rows than it needs

    @property
    def is_short(self) -> bool:
        """Whether a walk of any query found fewer."""
        return 1 in self.short.data  # of one query in a tenth of the time of `any`


class _Work(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What threads share that do parts of the same."""

    steps: Steps
    queries: Floats
    table: NDArray[np.int64]  # (steps, STEP_FIELDS)
    memories: Memories
    found: Stepped


def _search(work: _Work, begin: int, end: int) -> None:
    """Write the results of some queries, on this thread."""
    steps, found, places = work.steps, work.found, work.found.places
    if places is None:
        near, near_scores, places = _NO_NEAR, _NO_SCORES, _NO_NEAR
    else:
        near = np.empty((len(steps), steps.k + 1), np.int32)
        near_scores = np.empty((len(steps), steps.k), np.float32)
    memory = work.memories.taken(steps.rows, work.queries.shape[1])
    memory.make_room(steps.room)
    search_steps(
        work.table,
        memory.requests,
        memory.graphs,
        memory.sides,
        memory.states,
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
