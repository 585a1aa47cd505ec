"""Exact search of rows, compiled: all of them or those listed, in tiles that stay in the cache for all queries."""

from __future__ import annotations

from typing import Any

import numpy as np

from paceline.vectors.compiled.compiler import compiled, kept, sources_digest
from paceline.vectors.compiled.instructions import read_i32, read_i64
from paceline.vectors.compiled.pool import ALLOWED, LEAST, insert, key_of, place_of
from paceline.vectors.compiled.records import CODE, EXACT_CODE, FINAL, ORDERS, POOL, ROOM
from paceline.vectors.compiled.results import write_results
from paceline.vectors.compiled.rows import fetch_row, orders_of, prepare

TILE = 256
"""Rows of a tile: 96 KiB of 384 bytes."""
_AHEAD = 16
"""Listed rows that are fetched at once, before those fetched earlier are scored: no more than a core can await."""


@compiled
def _fetch(side: Any, listed: int, begin: int, end: int) -> None:
    for i in range(begin, end):
        fetch_row(side, np.int64(read_i32(listed + 4 * i)))


@compiled
def orders_fetching(side: Any, listed: int, size: int, code: int, state: Any, out: int) -> None:
    """`orders_of` of listed rows that are in no cache: the next are on their way while some are scored."""
    _fetch(side, listed, 0, min(_AHEAD, size))
    for begin in range(0, size, _AHEAD):
        end = min(begin + _AHEAD, size)
        _fetch(side, listed, end, min(end + _AHEAD, size))
        orders_of(side, listed + 4 * begin, 0, end - begin, code, state, out + 4 * begin)


@compiled
def collect(request: Any, pool: int, count: int, listed: int, first: int, rows: int) -> int:
    """Insert the tile's rows by their orders into a pool of `count`; returns its new count."""
    room = request[ROOM]
    least = read_i64(pool + 8 * (room - 1)) if count == room else LEAST
    for i in range(rows):
        row = np.int64(read_i32(listed + 4 * i)) if listed != 0 else first + i
        key = key_of(read_i32(request[ORDERS] + 4 * i), row) | ALLOWED
        if key > least:
            count = insert(pool, count, room, place_of(pool, count, key), key)
            least = read_i64(pool + 8 * (room - 1)) if count == room else LEAST
    return count


def _scanner() -> Any:
    digest = sources_digest()

    @kept
    def scan_rows(
        sides: Any,
        request: Any,
        states: Any,
        counts: Any,
        everything: int,
        rows: Any,
        queries: Any,
        plain: Any,
        ids: Any,
        scores: Any,
    ) -> int:
        """Results of `queries` among `rows` (int32), or, if there are none, among the first `everything`.

        Of each query the working memory has a code, a state, a count and a pool of ROOM, one after another.
        """
        ranged = rows.shape[0] == 0
        total = everything if ranged else rows.shape[0]
        code_bytes = request[EXACT_CODE] - request[CODE]
        for i in range(queries.shape[0]):
            query = queries.ctypes.data + 4 * queries.shape[1] * i
            prepare(sides[0], query, request[CODE] + 2 * code_bytes * i, states[i, 0])
            counts[i] = 0
        for start in range(0, total, TILE):
            size = min(TILE, total - start)
            first = start
            listed = 0 if ranged else rows.ctypes.data + 4 * start
            for i in range(queries.shape[0]):
                code, pool = request[CODE] + 2 * code_bytes * i, request[POOL] + 8 * request[ROOM] * i
                if i == 0 and not ranged:
                    orders_fetching(sides[0], listed, size, code, states[i, 0], request[ORDERS])
                else:
                    orders_of(sides[0], listed, first, size, code, states[i, 0], request[ORDERS])
                counts[i] = collect(request, pool, counts[i], listed, first, size)
        for i in range(queries.shape[0]):
            if request[FINAL] != 0:
                query = plain.ctypes.data + 4 * plain.shape[1] * i
                prepare(sides[1], query, request[EXACT_CODE], states[i, 1])
            pool = request[POOL] + 8 * request[ROOM] * i
            write_results(sides, request, pool, counts[i], states[i], ids[i], scores[i])
        return digest

    return scan_rows


scan_rows = _scanner()
