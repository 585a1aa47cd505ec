"""A row more in a graph, compiled: what HNSW's insertion does (Malkov and Yashunin 2018), beside searches of the graph.

A new row is linked to those near it of which none is nearer to another that was taken than to it, best first; and they
to it, in the same way where their lists are full. Its own lists are written before anyone can find it. Several threads
may insert at once: a row's list is written with the row's lock held, of which a thread never holds two. Readers take
no lock: a list that is being rewritten names some neighbour twice or not at all for a moment, and never one that is not
there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from paceline.vectors.compiled.compiler import called, compiled, kept, sources_digest
from paceline.vectors.compiled.instructions import (
    dot_fp32,
    pair_bf16,
    pair_fp16,
    pair_int8,
    prefetch,
    read_f32,
    read_i32,
    read_i64,
    read_shared_i64,
    taken,
    write_i32,
    write_shared_i32,
    write_shared_i64,
)
from paceline.vectors.compiled.pool import insert, key_of, place_of, row_of
from paceline.vectors.compiled.records import (
    BF16,
    BLOCKS,
    CODE,
    ENTRY,
    FP16,
    INT8,
    KIND,
    LEVEL_OF,
    LEVELS,
    LOCKS,
    NEAR,
    NEAR_POOL,
    POOL,
    ROWS,
    SHIFTS,
    STRIDE,
)
from paceline.vectors.compiled.rows import fetch_row, prepare, sortable
from paceline.vectors.compiled.walk import descend, links_of, walk_level, width_of


@compiled
def _nearness(side: Any, growth: Any, row: int, centre: int) -> float:
    """How near a row is to `centre`: comparable among rows for the same centre (`growing`)."""
    one, other, blocks = side[ROWS] + side[STRIDE] * row, side[ROWS] + side[STRIDE] * centre, side[BLOCKS]
    if side[KIND] == INT8:
        dot = np.float32(pair_int8(one, other, blocks))
    elif side[KIND] == FP16:
        dot = pair_fp16(one, other, blocks)
    elif side[KIND] == BF16:
        dot = pair_bf16(one, other, blocks)
    else:
        dot = dot_fp32(one, other, blocks)
    return dot + read_f32(growth[SHIFTS] + 4 * row)


@called
def _choose(side: Any, growth: Any, pool: int, count: int, centre: int, width: int, out: int) -> int:
    """Of the rows of a pool, best first, at most `width` to `out` that are nearer to `centre` than to one another."""
    chosen = 0
    for i in range(count):
        row = row_of(read_i64(pool + 8 * i))
        if row == centre:
            continue
        near, good = _nearness(side, growth, centre, row), True
        for j in range(chosen):
            if _nearness(side, growth, np.int64(read_i32(out + 4 * j)), row) > near:
                good = False
                break
        if good:
            write_i32(out + 4 * chosen, row)
            chosen += 1
            if chosen == width:
                break
    return chosen


@compiled
def _write_links(links: int, width: int, listed: int, count: int) -> None:
    for i in range(count):
        write_shared_i32(links + 4 * i, read_i32(listed + 4 * i))
    if count < width:
        write_shared_i32(links + 4 * count, np.int32(-1))


@called
def _link_back(graph: Any, side: Any, growth: Any, level: int, centre: int, row: int) -> None:
    """Give `centre` the neighbour `row`; of too many, those that `_choose` takes."""
    lock, links, width = growth[LOCKS] + 4 * centre, links_of(graph, centre, level), width_of(graph, level)
    while not taken(lock):
        prefetch(lock)
    count = 0
    while count < width and read_i32(links + 4 * count) >= 0:
        fetch_row(side, np.int64(read_i32(links + 4 * count)))
        count += 1
    if count < width:
        if count + 1 < width:
            write_shared_i32(links + 4 * (count + 1), np.int32(-1))
        write_shared_i32(links + 4 * count, np.int32(row))
    else:
        pool = growth[NEAR_POOL]
        for i in range(width + 1):
            other = np.int64(read_i32(links + 4 * i)) if i < width else np.int64(row)
            key = key_of(sortable(_nearness(side, growth, other, centre)), other)
            insert(pool, i, width + 1, place_of(pool, i, key), key)
        listed = growth[NEAR] + 4 * width
        _write_links(links, width, listed, _choose(side, growth, pool, width + 1, centre, width, listed))
    write_shared_i32(lock, np.int32(0))


@compiled
def _enter_above(graph: Any, growth: Any, row: int, level: int) -> None:
    """Start from `row` henceforth, if it is on a higher level than all."""
    lock = growth[LOCKS] - 4  # one before those of the rows
    while not taken(lock):
        prefetch(lock)
    if level > read_shared_i64(graph.ctypes.data + 8 * LEVELS):
        # Who reads the levels first has an entry that is on them.
        write_shared_i64(graph.ctypes.data + 8 * ENTRY, np.int64(row))
        write_shared_i64(graph.ctypes.data + 8 * LEVELS, np.int64(level))
    write_shared_i32(lock, np.int32(0))


@compiled
def _insert(graph: Any, side: Any, growth: Any, request: Any, state: Any, row: int) -> None:
    top = read_shared_i64(graph.ctypes.data + 8 * LEVELS)
    own = np.int64(read_i32(growth[LEVEL_OF] + 4 * row))
    level = min(own, top)
    start = descend(graph, side, request, state, top, level)
    while level >= 0:
        count, _ = walk_level(graph, side, request, state, start, level)
        start = row_of(read_i64(request[POOL]))
        width = width_of(graph, level)
        chosen = _choose(side, growth, request[POOL], count, row, width, growth[NEAR])
        _write_links(links_of(graph, row, level), width, growth[NEAR], chosen)
        level -= 1
    for level in range(min(own, top) + 1):
        # From now on others find it on this level, and write to its list: what they add is not to be linked back.
        links, width, count = links_of(graph, row, level), width_of(graph, level), 0
        while count < width and read_i32(links + 4 * count) >= 0:
            write_i32(growth[NEAR] + 4 * count, read_i32(links + 4 * count))
            count += 1
        for i in range(count):
            _link_back(graph, side, growth, level, np.int64(read_i32(growth[NEAR] + 4 * i)), row)
    if own > top:
        _enter_above(graph, growth, row, own)


def _grower() -> Any:
    digest = sources_digest()

    @kept
    def insert_rows(
        graph: Any, side: Any, growth: Any, request: Any, state: Any, vectors: Any, rows: Any
    ) -> int:
        """Insert `rows` (n,), whose vectors (n, d) these are, into a graph that has a row at least."""
        for i in range(vectors.shape[0]):
            prepare(side, vectors.ctypes.data + 4 * vectors.shape[1] * i, request[CODE], state)
            _insert(graph, side, growth, request, state, np.int64(rows[i]))
        return digest

    return insert_rows


insert_rows = _grower()
