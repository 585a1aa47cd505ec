"""Best-first search of a graph, compiled: the twin of `plain_walk`.

Down the upper levels greedily; on the base level a pool of the best rows met, of which the best not yet expanded is
expanded next. Rows that may not be returned are walked through like all others: the walk goes on until the pool's
expanded head is EF long and holds NEED rows that may be returned, or nothing in the pool is left to expand. With a
REACH it ends earlier, once LEAST rows are expanded and the next is REACH times as far as the TOP-th that may be returned
(`reach.py`).

A walk is cut into steps, and what it has come to lies in its request, so that walks of several queries can take turns.
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
from paceline.vectors.compiled.pool import LEAST as LOWEST
from paceline.vectors.compiled.records import (
    ALLOW,
    BASE,
    BEST,
    CODE,
    CURSOR,
    DENY,
    EF,
    ENTRY,
    FINAL,
    FOUND,
    FRESH,
    HELD,
    LEAST,
    LEVEL,
    LEVELS,
    LIMIT,
    MET,
    NEED,
    ORDERS,
    POOL,
    REACH,
    REACH_UNIT,
    ROOM,
    ROW,
    TOP,
    TOUCHED,
    UNIT,
    UPPER,
    UPPER_AT,
    UPPER_WIDTH,
    VISITED,
    WIDTH,
)
from paceline.vectors.compiled.rows import fetch_row, order_of, orders_of, score_of

_ROUNDED = np.float32(1.001)
"""Beyond the reach times this a row is surely out of it, however its score was rounded."""


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
def look_down(graph: Any, side: Any, request: Any) -> None:
    """List the neighbours of the row come to on an upper level, and fetch them; the graph's list may be rewritten then."""
    links, count = links_of(graph, request[ROW], request[LEVEL]), 0
    for i in range(graph[UPPER_WIDTH]):
        other = np.int64(read_i32(links + 4 * i))
        if other < 0:
            break
        if other < graph[LIMIT]:
            fetch_row(side, other)
            write_i32(request[TOUCHED] + 4 * count, other)
            count += 1
    request[MET] = count


@compiled
def go_down(side: Any, request: Any, state: Any) -> None:
    """Score the neighbours that `look_down` listed: to the best of them, or, if none is better, a level down."""
    here, row, best = request[ROW], request[ROW], request[BEST]
    orders_of(side, request[TOUCHED], 0, request[MET], request[CODE], state, request[ORDERS])
    for i in range(request[MET]):
        order = np.int64(read_i32(request[ORDERS] + 4 * i))
        if order > best:
            best, row = order, np.int64(read_i32(request[TOUCHED] + 4 * i))
    request[ROW], request[BEST] = row, best
    request[LEVEL] -= 1 if row == here else 0


@compiled
def enter(graph: Any, request: Any, level: int) -> None:
    """Begin a walk at the graph's entry, on this level."""
    request[ROW], request[LEVEL], request[BEST] = graph[ENTRY], level, -(1 << 31)


@compiled
def descend(graph: Any, side: Any, request: Any, state: Any, levels: int, floor: int) -> int:
    """The best row met when every level from `levels` down to above `floor` is walked greedily, from the graph's entry."""
    enter(graph, request, levels)
    while request[LEVEL] > floor:
        look_down(graph, side, request)
        go_down(side, request, state)
    return request[ROW]


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
def _fetch_ahead(graph: Any, side: Any, request: Any, level: int) -> None:
    """Start to fetch the neighbours, not met before, of the row that is expanded next, unless a better one is met now."""
    pool, count, place = request[POOL], request[HELD], request[CURSOR] + 1
    while place < count and read_i64(pool + 8 * place) & EXPANDED != 0:
        place += 1
    if place == count:
        return
    links = links_of(graph, row_of(read_i64(pool + 8 * place)), level)
    for j in range(width_of(graph, level)):
        other = np.int64(read_i32(links + 4 * j))
        if other < 0:
            break
        if other >= graph[LIMIT]:
            continue  # there is no bit of it
        seen = read_u64(request[VISITED] + 8 * (other >> 6)) >> np.uint64(other & 63)
        if seen & np.uint64(1) == 0:
            fetch_row(side, other)


@compiled
def forget(request: Any) -> None:
    """Clear the visited bits that were set."""
    for i in range(request[MET]):
        row = np.int64(read_i32(request[TOUCHED] + 4 * i))
        write_u64(request[VISITED] + 8 * (row >> 6), np.uint64(0))


@compiled
def start(side: Any, request: Any, state: Any, row: int) -> None:
    """Put the first row into the empty pool."""
    write_i32(request[TOUCHED], row)
    write_u64(request[VISITED] + 8 * (row >> 6), np.uint64(1) << np.uint64(row & 63))
    orders_of(side, request[TOUCHED], 0, 1, request[CODE], state, request[ORDERS])
    write_i64(request[POOL], key_of(read_i32(request[ORDERS]), row) | _may_return(request, row))
    request[HELD], request[CURSOR], request[FOUND], request[MET] = 1, 0, 0, 1


@compiled
def _farness(side: Any, state: Any, key: int) -> float:
    """How far a row is: 1 - cosine, or the squared distance."""
    return np.float32(side[UNIT]) - score_of(side, key >> 32, state)


@compiled
def _reach(request: Any) -> float:
    return np.float32(request[REACH]) / np.float32(REACH_UNIT)


@compiled
def _place_of_good(request: Any, number: int, within: int) -> int:
    """Where in the pool the `number`-th row is that may be returned, of the first `within`; -1 if there are not so many."""
    if request[NEED] == 0:
        return number - 1 if number <= within else -1
    for place in range(within):
        number -= 1 if read_i64(request[POOL] + 8 * place) & ALLOWED != 0 else 0
        if number == 0:
            return place
    return -1


@compiled
def _is_out_of_reach(side: Any, request: Any, state: Any) -> bool:
    """Whether the row at the cursor is REACH times as far as the TOP-th row that may be returned, of those expanded."""
    pool, place = request[POOL], _place_of_good(request, request[TOP], request[CURSOR])
    if place < 0:
        return False
    near = _farness(side, state, read_i64(pool + 8 * place))
    return _farness(side, state, read_i64(pool + 8 * request[CURSOR])) > _reach(request) * near


@compiled
def seek(side: Any, request: Any, state: Any) -> bool:
    """Move the cursor to the best row not yet expanded; False where the walk ends."""
    pool, count, cursor, found = request[POOL], request[HELD], request[CURSOR], request[FOUND]
    while cursor < count:
        key = read_i64(pool + 8 * cursor)
        if key & EXPANDED == 0:
            break
        found += 1 if key & ALLOWED != 0 else 0
        cursor += 1
    request[CURSOR], request[FOUND] = cursor, found
    if cursor == count:
        return False
    if found < request[NEED] or cursor < request[LEAST]:
        return True
    if cursor >= request[EF]:
        return False
    return request[REACH] == 0 or not _is_out_of_reach(side, request, state)


@compiled
def expand(graph: Any, side: Any, request: Any, level: int) -> None:
    """List those neighbours of the row at the cursor that were not met before, and fetch them."""
    pool, cursor, fresh = request[POOL], request[CURSOR], request[MET]
    key = read_i64(pool + 8 * cursor)
    write_i64(pool + 8 * cursor, key | EXPANDED)
    met = _unseen(graph, request, row_of(key), level, fresh)
    for i in range(fresh, met):
        fetch_row(side, np.int64(read_i32(request[TOUCHED] + 4 * i)))
    request[FRESH], request[MET] = fresh, met


@compiled
def _bar(side: Any, request: Any, state: Any) -> int:
    """A key below those of all rows that the walk can still want: neither to expand nor among its results."""
    pool, count, sure = request[POOL], request[HELD], max(request[LEAST], request[FINAL]) - 1
    if request[REACH] == 0 or count <= sure:
        return LOWEST
    top, last = _place_of_good(request, request[TOP], count), sure
    if request[NEED] > 0:
        last = _place_of_good(request, request[NEED], count)
    if top < 0 or last < 0:
        return LOWEST
    near = _farness(side, state, read_i64(pool + 8 * top))
    order = order_of(side, np.float32(side[UNIT]) - _ROUNDED * _reach(request) * near, state)
    return min(read_i64(pool + 8 * max(sure, last)), max(order, -(1 << 31)) << 32)


@compiled
def take_in(graph: Any, side: Any, request: Any, state: Any, level: int) -> None:
    """Score the rows that `expand` listed, and insert them into the pool."""
    pool, room, masked = request[POOL], request[ROOM], request[NEED] > 0
    count, cursor, found, fresh = request[HELD], request[CURSOR], request[FOUND], request[FRESH]
    listed, many = request[TOUCHED] + 4 * fresh, request[MET] - fresh
    orders_of(side, listed, 0, many, request[CODE], state, request[ORDERS])
    bar = _bar(side, request, state)
    for i in range(many):
        other = np.int64(read_i32(listed + 4 * i))
        key = key_of(read_i32(request[ORDERS] + 4 * i), other)
        if key < bar or (count == room and key < read_i64(pool + 8 * (count - 1))):
            continue
        key |= _may_return(request, other) if masked else ALLOWED
        place = place_of(pool, count, key)
        if place <= cursor:
            for passed in range(place, cursor if masked else place):
                found -= 1 if read_i64(pool + 8 * passed) & ALLOWED != 0 else 0
            cursor = place
        _fetch_links(graph, other, level)  # it may be expanded next
        count = insert(pool, count, room, place, key)
    request[HELD], request[CURSOR], request[FOUND] = count, cursor, found


@compiled
def _walk_from(graph: Any, side: Any, request: Any, state: Any, row: int, level: int, ahead: int) -> bool:
    """Fill the pool from `row` on; whether NEED rows were found. `ahead`: whether to fetch what may be wanted next."""
    start(side, request, state, row)
    while seek(side, request, state):
        expand(graph, side, request, level)
        if ahead != 0:
            _fetch_ahead(graph, side, request, level)
        take_in(graph, side, request, state, level)
    forget(request)
    return request[FOUND] >= request[NEED]


@compiled
def walk(graph: Any, side: Any, request: Any, state: Any) -> tuple[int, bool]:
    """Fill the pool with the best rows met; returns their count, and whether NEED of them were found."""
    row = descend(graph, side, request, state, graph[LEVELS], 0)
    enough = _walk_from(graph, side, request, state, row, 0, 1)
    return request[HELD], enough


@compiled
def walk_level(graph: Any, side: Any, request: Any, state: Any, row: int, level: int) -> tuple[int, bool]:
    """As `walk`, on one level, from `row`; for walks that are long beside the graph, where to fetch ahead costs more."""
    enough = _walk_from(graph, side, request, state, row, level, 0)
    return request[HELD], enough
