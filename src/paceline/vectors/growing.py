"""A graph that grows by insertion, beside searches of it: `GrowingGraph`; all at once: `build_graph`.

It is built on int8 codes, whatever the precision of those that are searched: as good a graph as on float32, four times
as quick. How near rows are to one another, of which only the order matters, is a dot product of codes and a number of
the row: with numbers o + code in units of the coder's step, s . c = s * (c - 128) + (128 + o) * sum(s) + what is the same
for all s; under `l2` minus half the squared length of s.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.vectors.codes import Coded, Coder
from paceline.vectors.compiled import records as of
from paceline.vectors.compiled.grow import insert_rows
from paceline.vectors.graph import Graph, Ints
from paceline.vectors.memory import Memory
from paceline.vectors.metric import Floats, Metric, entered

MOST_LINKS: Final = 512
"""Largest M: twice as many neighbours are scored in one go."""
_MOST_LEVELS: Final = 30
_AT_ONCE: Final = 64
"""Rows that a thread inserts before it takes others."""
_LEARNED_FROM: Final = 16_384


class GrowingGraph:
    """Room for `room` rows, of which the first `count` are in the graph. One caller of `grow` at a time."""

    def __init__(self, coded: Coded, *, m: int = 16, ef_construction: int = 200, seed: int = 1) -> None:
        """Over int8 rows; those beyond what `grow` was told may still be written."""
        if not 2 <= m <= MOST_LINKS or ef_construction < 1:
            raise ConfigError(
                f"m is {m} and ef_construction {ef_construction}; m is 2 to {MOST_LINKS}, ef_construction 1 or more"
            )
        room = len(coded)
        if room >= of.MOST_ROWS:
            raise InvalidRequest(f"{room} vectors in one graph; split them below {of.MOST_ROWS}")
        assert coded.coder.shape.precision == "int8"
        self.coded = coded
        self.ef_construction = ef_construction
        self.count = 0
        self._levels = drawn_levels(room, m, seed)
        self._base: Ints = np.full((room, 2 * m), -1, np.int32)
        above = self._levels.astype(np.int64)
        self._upper_at: Ints = (np.cumsum(above) - above).astype(np.int32)
        self._upper: Ints = np.full((int(above.sum()), m), -1, np.int32)
        self._shifts = np.zeros(room, np.float32)
        self._locks = np.zeros(room + 1, np.int32)
        self._graph = Graph(self._base, self._upper, self._upper_at, -1, 0).record()
        self._side = coded.side()
        self._memories: list[tuple[Memory, NDArray[np.int64], list[NDArray[np.generic]]]] = []

    def grow(self, vectors: Floats, threads: int = 1) -> None:
        """Insert the next rows, whose codes are written: those of `vectors` (n, d), as they were entered."""
        first, end = self.count, self.count + len(vectors)
        self._shifts[first:end] = shifts_of(self.coded, first, end)
        if first == 0 and end:
            self._graph[of.ENTRY], self._graph[of.LEVELS] = 0, self._levels[0]
            first += 1
        self._graph[of.LIMIT] = end
        queries = self.coded.coder.turned(vectors)[first - self.count :]
        parts = ((at, queries[at : at + _AT_ONCE]) for at in range(0, len(queries), _AT_ONCE))
        if threads == 1:
            self._insert(parts, first)
        else:
            with ThreadPoolExecutor(threads, thread_name_prefix="vectors-grow") as pool:
                shared = _Shared(parts)
                list(pool.map(lambda _: self._insert(shared, first), range(threads)))
        self.count = end

    def graph(self) -> Graph:
        """The graph of the rows that are there; its arrays are those that grow."""
        count, above = self.count, int(self._levels[: self.count].sum())
        entry, levels = int(self._graph[of.ENTRY]), int(self._graph[of.LEVELS])
        return Graph(self._base[:count], self._upper[:above], self._upper_at[:count], entry, levels)

    def _insert(self, parts: Iterator[tuple[int, Floats]], first: int) -> None:
        memory, growth, kept = self._memories.pop() if self._memories else self._memory()
        for at, queries in parts:
            insert_rows(
                self._graph, self._side, growth, memory.request, memory.states[0, 0], queries, first + at
            )
        self._memories.append((memory, growth, kept))

    def _memory(self) -> tuple[Memory, NDArray[np.int64], list[NDArray[np.generic]]]:
        memory = Memory(len(self.coded), (self.coded.coder, self.coded.coder))
        memory.ask(ef=self.ef_construction, room=self.ef_construction, need=0, final=0, top=1, masks=(0, 0))
        width = self._base.shape[1]
        near, pool = np.zeros(2 * width, np.int32), np.zeros(width + 2, np.int64)
        growth = np.zeros(of.GROWTH, np.int64)
        growth[of.LEVEL_OF], growth[of.SHIFTS] = self._levels.ctypes.data, self._shifts.ctypes.data
        growth[of.LOCKS] = self._locks.ctypes.data + 4
        growth[of.NEAR], growth[of.NEAR_POOL] = near.ctypes.data, pool.ctypes.data
        return memory, growth, [near, pool]


class _Shared:
    """An iterator that several threads may draw from."""

    def __init__(self, parts: Iterator[tuple[int, Floats]]) -> None:
        self._parts, self._lock = parts, threading.Lock()

    def __iter__(self) -> Iterator[tuple[int, Floats]]:
        return self

    def __next__(self) -> tuple[int, Floats]:
        with self._lock:
            return next(self._parts)


def build_graph(  # noqa: PLR0913 - keywords, each with a default
    vectors: Any,
    metric: Metric = "cosine",
    *,
    coded: Coded | None = None,
    m: int = 16,
    ef_construction: int = 200,
    threads: int = 0,
) -> Graph:
    """The graph of `vectors` (n, d) on `threads` threads (0: all cores); blocks, lets other threads run.

    `coded`: their int8 codes, if there are some.
    """
    rows = entered(vectors, metric)
    if coded is None or coded.coder.shape.precision != "int8":
        sample = rows[:: max(1, len(rows) // _LEARNED_FROM)]
        coded = Coded.of(
            Coder.learn(
                sample if len(rows) else np.ones_like(rows, shape=(1, rows.shape[1])), "int8", metric
            ),
            rows,
        )
    growing = GrowingGraph(coded, m=m, ef_construction=ef_construction)
    growing.grow(rows, threads or len(os.sched_getaffinity(0)))
    return growing.graph()


def shifts_of(coded: Coded, first: int, end: int) -> Floats:
    """(n,): what a row's nearness to any other has beside the product of their codes."""
    coder, rows = coded.coder, coded.rows[first:end]
    offset, step = float(coder.offset[0]), float(coder.step[0])
    codes = rows[:, : coder.shape.dimensions]
    shifts = (128 + offset / step) * codes.sum(axis=1, dtype=np.float64)
    if coder.shape.metric == "l2":
        squares = np.ascontiguousarray(rows[:, coder.factors_at : coder.factors_at + 4]).view(np.float32)[
            :, 0
        ]
        shifts += squares / (2 * step * step)
    narrow: Floats = shifts.astype(np.float32)
    return narrow


def drawn_levels(rows: int, m: int, seed: int = 1) -> Ints:
    """Levels above the base of each row: one more with probability 1/m."""
    drawn = np.random.default_rng(seed).random(rows)
    return np.minimum(-np.log1p(-drawn) / math.log(m), _MOST_LEVELS).astype(np.int32)
