"""Best-first search of a graph, compiled.

Down the upper levels greedily; on the base level a pool of the best rows met, of which the best not yet expanded is
expanded next. Rows that may not be returned are walked through like all others: the walk goes on until the pool's
expanded head is `ef` long and holds `need` rows that may be returned.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from paceline.vectors.compiled.compiler import compiled, kept, sources_digest
from paceline.vectors.compiled.instructions import (
    prefetch,
    read_f32,
    read_i32,
    read_i64,
    read_u64,
    write_f32,
    write_i32,
    write_i64,
    write_u64,
)
from paceline.vectors.compiled.pool import ALLOWED, EXPANDED, LEAST, insert, key_of, place_of, row_of
from paceline.vectors.compiled.records import (
    ALLOW,
    BASE,
    CODE,
    DENY,
    EF,
    ENTRY,
    EXACT_CODE,
    FINAL,
    LEVELS,
    NEED,
    POOL,
    ROOM,
    ROWS,
    STRIDE,
    TOP,
    TOUCHED,
    UPPER,
    UPPER_AT,
    UPPER_WIDTH,
    VISITED,
    WIDTH,
)
from paceline.vectors.compiled.rows import order_of, prepare, score_of


@compiled
def _may_return(request: Any, row: int) -> int:
    """ALLOWED or 0."""
    good = np.uint64(1)
    if request[ALLOW] != 0:
        good &= read_u64(request[ALLOW] + 8 * (row >> 6)) >> np.uint64(row & 63)
    if request[DENY] != 0:
        good &= ~(read_u64(request[DENY] + 8 * (row >> 6)) >> np.uint64(row & 63))
    return ALLOWED * np.int64(good & np.uint64(1))


@compiled
def fetch_row(side: Any, row: int) -> None:
    """Start to fetch the whole row."""
    address = side[ROWS] + row * side[STRIDE]
    for offset in range(0, side[STRIDE], 64):
        prefetch(address + offset)


@compiled
def _descend(graph: Any, side: Any, code: int, state: Any) -> int:
    """The row at which the base level is entered."""
    row = graph[ENTRY]
    best = order_of(side, side[ROWS] + row * side[STRIDE], code, state)
    for level in range(graph[LEVELS] - 1, -1, -1):
        better = True
        while better:
            better = False
            links = graph[UPPER] + 4 * graph[UPPER_WIDTH] * (read_i32(graph[UPPER_AT] + 4 * row) + level)
            for j in range(graph[UPPER_WIDTH]):
                other = np.int64(read_i32(links + 4 * j))
                if other >= 0:
                    fetch_row(side, other)
            for j in range(graph[UPPER_WIDTH]):
                other = np.int64(read_i32(links + 4 * j))
                if other < 0:
                    break
                order = order_of(side, side[ROWS] + other * side[STRIDE], code, state)
                if order > best:
                    best, row, better = order, other, True
    return row


@compiled
def _unseen(graph: Any, request: Any, row: int, touched: int) -> int:
    """Append the neighbours of `row` not met before to the list of those met; returns its new length."""
    links = graph[BASE] + 4 * graph[WIDTH] * row
    for j in range(graph[WIDTH]):
        other = np.int64(read_i32(links + 4 * j))
        if other < 0:
            break
        word = request[VISITED] + 8 * (other >> 6)
        seen = read_u64(word)
        bit = np.uint64(1) << np.uint64(other & 63)
        write_u64(word, seen | bit)
        write_i32(request[TOUCHED] + 4 * touched, other)
        touched += 1 if seen & bit == 0 else 0
    return touched


@compiled
def _forget(request: Any, touched: int) -> None:
    """Clear the visited bits that were set."""
    for i in range(touched):
        row = np.int64(read_i32(request[TOUCHED] + 4 * i))
        write_u64(request[VISITED] + 8 * (row >> 6), np.uint64(0))


@compiled
def walk(graph: Any, side: Any, request: Any, state: Any) -> int:
    """Fill the pool with the best rows met; returns their count."""
    pool, code, room, masked = request[POOL], request[CODE], request[ROOM], request[NEED] > 0
    start = _descend(graph, side, code, state)
    order = order_of(side, side[ROWS] + start * side[STRIDE], code, state)
    write_i64(pool, key_of(order, start) | (_may_return(request, start) if masked else ALLOWED))
    write_i32(request[TOUCHED], start)
    write_u64(request[VISITED] + 8 * (start >> 6), np.uint64(1) << np.uint64(start & 63))
    count, cursor, found, touched = 1, 0, 0, 1
    while cursor < count and (cursor < request[EF] or found < request[NEED]):
        key = read_i64(pool + 8 * cursor)
        if key & EXPANDED != 0:
            found += 1 if key & ALLOWED != 0 else 0
            cursor += 1
            continue
        write_i64(pool + 8 * cursor, key | EXPANDED)
        fresh = touched
        touched = _unseen(graph, request, row_of(key), touched)
        for i in range(fresh, touched):
            fetch_row(side, np.int64(read_i32(request[TOUCHED] + 4 * i)))
        if cursor + 1 < count:
            links = graph[BASE] + 4 * graph[WIDTH] * row_of(read_i64(pool + 8 * (cursor + 1)))
            prefetch(links)
            prefetch(links + 64)
        for i in range(fresh, touched):
            other = np.int64(read_i32(request[TOUCHED] + 4 * i))
            key = key_of(order_of(side, side[ROWS] + other * side[STRIDE], code, state), other)
            if count == room and key < read_i64(pool + 8 * (count - 1)):
                continue
            key |= _may_return(request, other) if masked else ALLOWED
            place = place_of(pool, count, key)
            if place <= cursor:
                for passed in range(place, cursor if masked else place):
                    found -= 1 if read_i64(pool + 8 * passed) & ALLOWED != 0 else 0
                cursor = place
                links = graph[BASE] + 4 * graph[WIDTH] * other
                prefetch(links)
                prefetch(links + 64)
            count = insert(pool, count, room, place, key)
    _forget(request, touched)
    return count


@compiled
def finish(side: Any, exact: Any, request: Any, count: int, state: Any, exact_state: Any, ids: Any, scores: Any) -> None:
    """Best TOP of the pool's rows that may be returned, the first FINAL of them re-scored; -1 where there are no more."""
    pool = request[POOL]
    wanted = max(request[FINAL], request[TOP])
    kept_rows = 0
    for i in range(count):
        key = read_i64(pool + 8 * i)
        if key & ALLOWED != 0 and kept_rows < wanted:
            write_i64(pool + 8 * kept_rows, key)
            kept_rows += 1
    rescored = min(kept_rows, request[FINAL])
    for i in range(rescored):
        fetch_row(exact, row_of(read_i64(pool + 8 * i)))
    for i in range(rescored):
        row = row_of(read_i64(pool + 8 * i))
        order = order_of(exact, exact[ROWS] + row * exact[STRIDE], request[EXACT_CODE], exact_state)
        key = key_of(order, row)
        insert(pool, i, i + 1, place_of(pool, i, key), key)
    for i in range(request[TOP]):
        if i < kept_rows:
            key = read_i64(pool + 8 * i)
            ids[i] = row_of(key)
            if i < rescored:
                scores[i] = score_of(exact, key >> 32, exact_state)
            else:
                scores[i] = score_of(side, key >> 32, state)
        else:
            ids[i] = -1
            scores[i] = -np.inf


def _searcher() -> Any:
    digest = sources_digest()

    @kept
    def search_graph(
        graph: Any, side: Any, exact: Any, request: Any, state: Any, queries: Any, plain: Any, ids: Any, scores: Any
    ) -> int:
        """Search `queries` (q, d), as the side wants them; `plain` as the re-scoring side does."""
        for i in range(queries.shape[0]):
            prepare(side, queries.ctypes.data + 4 * queries.shape[1] * i, request[CODE], state[0])
            if request[FINAL] != 0:
                prepare(exact, plain.ctypes.data + 4 * plain.shape[1] * i, request[EXACT_CODE], state[1])
            count = walk(graph, side, request, state[0])
            finish(side, exact, request, count, state[0], state[1], ids[i], scores[i])
        return digest

    return search_graph


search_graph = _searcher()
