"""A graph that grows by insertion, beside searches of it: `GrowingGraph`; all at once: `build_graph`.

It is built on the codes that are searched, or on int8 if these are binary. How near rows are to one another, of which
only the order matters, is a dot product and a number of the row. Of int8 codes, o + code in units of the coder's step:
s . c = s * (c - 128) + (128 + o) * sum(s) + what is the same for all s. Under `l2` half the squared length of s goes off.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.vectors.codes import Coded, Coder
from paceline.vectors.compiled import records as of
from paceline.vectors.compiled.grow import insert_rows
from paceline.vectors.courtesy import give_way
from paceline.vectors.graph import Graph, Ints
from paceline.vectors.memory import Memory, Wanted
from paceline.vectors.metric import Floats, Metric, entered

MOST_LINKS: Final = 512
"""Largest M: twice as many neighbours are scored in one go."""
_MOST_LEVELS: Final = 30
_AT_ONCE: Final = 16
"""Rows that a thread inserts before it gives way: 0.3 to 2 ms. A search may wait for its core."""
_LEARNED_FROM: Final = 16_384


class GrowingGraph:
    """Room for `room` rows, of which the first `count` are in the graph. One caller of `grow` at a time."""

    def __init__(self, coded: Coded, *, m: int = 16, ef_construction: int = 200, seed: int = 1) -> None:
        """Over rows that are not binary; those beyond what `grow` was told may still be written."""
        if not 2 <= m <= MOST_LINKS or ef_construction < 1:
            raise ConfigError(
                f"m is {m} and ef_construction {ef_construction}; m is 2 to {MOST_LINKS}, ef_construction 1 or more"
            )
        room = len(coded)
        if room >= of.MOST_ROWS:
            raise InvalidRequest(f"{room} vectors in one graph; split them below {of.MOST_ROWS}")
        assert coded.coder.shape.precision != "binary"
        self.coded = coded
        self.ef_construction = ef_construction
        self._seed = seed
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
        self._graph[of.LIMIT] = end
        self._insert_all(np.arange(first, end, dtype=np.int32), lambda part: vectors[part - first], threads)
        self.count = end

    def grow_in_order(self, rows: Ints, vectors_of: Callable[[Ints], Floats], threads: int = 1) -> None:
        """Insert `rows`, of whatever place, into a graph of which all codes are written; `vectors_of` some (n, d)."""
        if self.count == 0:
            self._shifts[:] = shifts_of(self.coded, 0, len(self.coded))
            self.count = self._graph[of.LIMIT] = len(self.coded)
        self._insert_all(rows, vectors_of, threads)

    def _insert_all(self, rows: Ints, vectors_of: Callable[[Ints], Floats], threads: int) -> None:
        if len(rows) and self._graph[of.ENTRY] < 0:
            self._graph[of.ENTRY], self._graph[of.LEVELS] = rows[0], self._levels[rows[0]]
            rows = rows[1:]
        lists = (rows[at : at + _AT_ONCE] for at in range(0, len(rows), _AT_ONCE))
        turned = self.coded.coder.turned
        parts = ((part, turned(vectors_of(part))) for part in lists)
        if threads == 1:
            self._insert(parts)
        else:
            with ThreadPoolExecutor(threads, thread_name_prefix="vectors-grow") as pool:
                shared = _Shared(parts)
                list(pool.map(lambda _: self._insert(shared), range(threads)))

    def moved(self, coded: Coded) -> GrowingGraph:
        """The same over other codes of the same rows, with room for more."""
        moved = GrowingGraph(
            coded, m=self._base.shape[1] // 2, ef_construction=self.ef_construction, seed=self._seed
        )
        graph, count = self.graph(), self.count
        moved._base[:count], moved._upper[: len(graph.upper)] = graph.base, graph.upper
        moved._shifts[:count] = shifts_of(coded, 0, count)
        moved._graph[of.ENTRY], moved._graph[of.LEVELS] = graph.entry, graph.levels
        moved.count = count
        return moved

    def graph(self) -> Graph:
        """The graph of the rows that are there; its arrays are those that grow."""
        count, above = self.count, int(self._levels[: self.count].sum())
        entry, levels = int(self._graph[of.ENTRY]), int(self._graph[of.LEVELS])
        return Graph(self._base[:count], self._upper[:above], self._upper_at[:count], entry, levels)

    def _insert(self, parts: Iterator[tuple[Ints, Floats]]) -> None:
        memory, growth, kept = self._memories.pop() if self._memories else self._memory()
        for rows, queries in parts:
            give_way()
            insert_rows(self._graph, self._side, growth, memory.request, memory.states[0, 0], queries, rows)
        self._memories.append((memory, growth, kept))

    def _memory(self) -> tuple[Memory, NDArray[np.int64], list[NDArray[np.generic]]]:
        memory = Memory(len(self.coded), self.coded.coder.shape.dimensions)
        memory.ask(Wanted(self.ef_construction, self.ef_construction, need=0, final=0, top=1))
        width = self._base.shape[1]
        near, pool = np.zeros(2 * width, np.int32), np.zeros(width + 2, np.int64)
        growth = np.zeros(of.GROWTH, np.int64)
        growth[of.LEVEL_OF], growth[of.SHIFTS] = self._levels.ctypes.data, self._shifts.ctypes.data
        growth[of.LOCKS] = self._locks.ctypes.data + 4
        growth[of.NEAR], growth[of.NEAR_POOL] = near.ctypes.data, pool.ctypes.data
        return memory, growth, [near, pool]


class _Shared:
    """An iterator that several threads may draw from."""

    def __init__(self, parts: Iterator[tuple[Ints, Floats]]) -> None:
        self._parts, self._lock = parts, threading.Lock()

    def __iter__(self) -> Iterator[tuple[Ints, Floats]]:
        return self

    def __next__(self) -> tuple[Ints, Floats]:
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

    `coded`: on these codes of theirs, unless they are binary; otherwise on int8.
    """
    rows = entered(vectors, metric)
    if coded is None or coded.coder.shape.precision == "binary":
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
    coder, rows, unit = coded.coder, coded.rows[first:end], 1.0
    shifts = np.zeros(len(rows))
    if coder.shape.precision == "int8":
        unit = float(coder.step[0])
        codes = rows[:, : coder.shape.dimensions]
        shifts += (128 + float(coder.offset[0]) / unit) * codes.sum(axis=1, dtype=np.float64)
    if coder.shape.metric == "l2":
        squares = np.ascontiguousarray(rows[:, coder.factors_at : coder.factors_at + 4]).view(np.float32)
        shifts += squares[:, 0] / (2 * unit * unit)
    narrow: Floats = shifts.astype(np.float32)
    return narrow


def drawn_levels(rows: int, m: int, seed: int = 1) -> Ints:
    """Levels above the base of each row: one more with probability 1/m."""
    drawn = np.random.default_rng(seed).random(rows)
    return np.minimum(-np.log1p(-drawn) / math.log(m), _MOST_LEVELS).astype(np.int32)
