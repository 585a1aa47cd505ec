"""Best-first search of a graph, compiled: the twin of `plain_walk`.

Down the upper levels greedily; on the base level a pool of the best rows met, of which the best not yet expanded is
expanded next. Rows that may not be returned are walked through like all others: the walk goes on until the pool's
expanded head is EF long and holds NEED rows that may be returned, or nothing in the pool is left to expand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from paceline.vectors.compiled.compiler import compiled
from paceline.vectors.compiled.instructions import (
    prefetch,
    read_i32,
    read_i64,
    read_u64,
    write_i32,
    write_i64,
    write_u64,
)
from paceline.vectors.compiled.pool import ALLOWED, EXPANDED, insert, key_of, place_of, row_of
from paceline.vectors.compiled.records import (
    ALLOW,
    BASE,
    CODE,
    DENY,
    EF,
    ENTRY,
    LEVELS,
    LIMIT,
    NEED,
    ORDERS,
    POOL,
    ROOM,
    TOUCHED,
    UPPER,
    UPPER_AT,
    UPPER_WIDTH,
    VISITED,
    WIDTH,
)
from paceline.vectors.compiled.rows import fetch_row, orders_of


@compiled
def _may_return(request: Any, row: int) -> int:
    """ALLOWED or 0."""
    good, shift = np.uint64(1), np.uint64(row & 63)
    if request[ALLOW] != 0:
        good &= read_u64(request[ALLOW] + 8 * (row >> 6)) >> shift
    if request[DENY] != 0:
        good &= ~(read_u64(request[DENY] + 8 * (row >> 6)) >> shift)
    return ALLOWED * np.int64(good & np.uint64(1))


@compiled
def links_of(graph: Any, row: int, level: int) -> int:
    """Where the neighbours of a row on a level are; level 0 is the base."""
    if level == 0:
        return graph[BASE] + 4 * graph[WIDTH] * row
    return graph[UPPER] + 4 * graph[UPPER_WIDTH] * (read_i32(graph[UPPER_AT] + 4 * row) + level - 1)


@compiled
def width_of(graph: Any, level: int) -> int:
    """How many neighbours a row has at most."""
    return graph[WIDTH] if level == 0 else graph[UPPER_WIDTH]


@compiled
def descend(graph: Any, side: Any, request: Any, state: Any, levels: int, floor: int) -> int:
    """The best row met when every level from `levels` down to above `floor` is walked greedily, from the graph's entry."""
    row, level, best = graph[ENTRY], levels, np.int32(-(1 << 31))
    while level > floor:
        links = links_of(graph, row, level)
        count = 0
        while count < graph[UPPER_WIDTH] and read_i32(links + 4 * count) >= 0:
            fetch_row(side, np.int64(read_i32(links + 4 * count)))
            count += 1
        orders_of(side, links, 0, count, request[CODE], state, request[ORDERS])
        here = row
        for i in range(count):
            order, other = read_i32(request[ORDERS] + 4 * i), np.int64(read_i32(links + 4 * i))
            if order > best and other < graph[LIMIT]:
                best, row = order, other
        level -= 1 if row == here else 0
    return row


@compiled
def _fetch_links(graph: Any, row: int, level: int) -> None:
    """Start to fetch a row's neighbours."""
    links = links_of(graph, row, level)
    for offset in range(0, 4 * width_of(graph, level), 64):
        prefetch(links + offset)


@compiled
def _unseen(graph: Any, request: Any, row: int, level: int, touched: int) -> int:
    """Append the neighbours of `row` not met before to the list of those met; returns its new length."""
    links = links_of(graph, row, level)
    for j in range(width_of(graph, level)):
        other = np.int64(read_i32(links + 4 * j))
        if other < 0:
            break
        if other >= graph[LIMIT]:
            continue
        word, bit = request[VISITED] + 8 * (other >> 6), np.uint64(1) << np.uint64(other & 63)
        seen = read_u64(word)
        write_u64(word, seen | bit)
        write_i32(request[TOUCHED] + 4 * touched, other)  # overwritten by the next if it was seen
        touched += 1 if seen & bit == 0 else 0
    return touched


@compiled
def _forget(request: Any, touched: int) -> None:
    """Clear the visited bits that were set."""
    for i in range(touched):
        row = np.int64(read_i32(request[TOUCHED] + 4 * i))
        write_u64(request[VISITED] + 8 * (row >> 6), np.uint64(0))


@compiled
def _start(side: Any, request: Any, state: Any, row: int) -> None:
    """Put the first row into the empty pool."""
    write_i32(request[TOUCHED], row)
    write_u64(request[VISITED] + 8 * (row >> 6), np.uint64(1) << np.uint64(row & 63))
    orders_of(side, request[TOUCHED], 0, 1, request[CODE], state, request[ORDERS])
    write_i64(request[POOL], key_of(read_i32(request[ORDERS]), row) | _may_return(request, row))


@compiled
def walk(graph: Any, side: Any, request: Any, state: Any) -> tuple[int, bool]:
    """Fill the pool with the best rows met; returns their count, and whether NEED of them were found."""
    row = descend(graph, side, request, state, graph[LEVELS], 0)
    return walk_level(graph, side, request, state, row, 0)


@compiled
def walk_level(graph: Any, side: Any, request: Any, state: Any, row: int, level: int) -> tuple[int, bool]:
    """As `walk`, on one level, from `row`."""
    pool, room, masked = request[POOL], request[ROOM], request[NEED] > 0
    _start(side, request, state, row)
    count, cursor, found, touched = 1, 0, 0, 1
    while cursor < count and (cursor < request[EF] or found < request[NEED]):
        key = read_i64(pool + 8 * cursor)
        if key & EXPANDED != 0:
            found += 1 if key & ALLOWED != 0 else 0
            cursor += 1
            continue
        write_i64(pool + 8 * cursor, key | EXPANDED)
        fresh = touched
        touched = _unseen(graph, request, row_of(key), level, touched)
        for i in range(fresh, touched):
            fetch_row(side, np.int64(read_i32(request[TOUCHED] + 4 * i)))
        if cursor + 1 < count:
            _fetch_links(graph, row_of(read_i64(pool + 8 * (cursor + 1))), level)
        listed = request[TOUCHED] + 4 * fresh
        orders_of(side, listed, 0, touched - fresh, request[CODE], state, request[ORDERS])
        for i in range(touched - fresh):
            other = np.int64(read_i32(listed + 4 * i))
            key = key_of(read_i32(request[ORDERS] + 4 * i), other)
            if count == room and key < read_i64(pool + 8 * (count - 1)):
                continue
            key |= _may_return(request, other) if masked else ALLOWED
            place = place_of(pool, count, key)
            if place <= cursor:
                for passed in range(place, cursor if masked else place):
                    found -= 1 if read_i64(pool + 8 * passed) & ALLOWED != 0 else 0
                cursor = place
                _fetch_links(graph, other, level)
            count = insert(pool, count, room, place, key)
    _forget(request, touched)
    return count, found >= request[NEED]
