"""The last step of every search, compiled: of a pool to the best results, re-scored."""

from __future__ import annotations

from typing import Any

import numpy as np

from paceline.vectors.compiled.compiler import compiled
from paceline.vectors.compiled.instructions import read_i32, read_i64, write_i32, write_i64
from paceline.vectors.compiled.pool import ALLOWED, insert, key_of, place_of, row_of
from paceline.vectors.compiled.records import EXACT_CODE, FINAL, ORDERS, TOP, TOUCHED
from paceline.vectors.compiled.rows import fetch_row, orders_of, score_of


@compiled
def gather(exact: Any, request: Any, pool: int, count: int) -> int:
    """Move the rows that may be returned to the pool's head, and fetch those to re-score; returns how many there are."""
    wanted, good = max(request[FINAL], request[TOP]), 0
    for i in range(count):
        key = read_i64(pool + 8 * i)
        if key & ALLOWED != 0:
            write_i64(pool + 8 * good, key)
            if good < request[FINAL]:
                write_i32(request[TOUCHED] + 4 * good, row_of(key))
                fetch_row(exact, row_of(key))
            good += 1
            if good == wanted:
                break
    return good


@compiled
def write_gathered(
    sides: Any, request: Any, pool: int, good: int, states: Any, ids: Any, scores: Any
) -> None:
    """`write_results` of a pool whose `good` rows that may be returned are gathered."""
    rescored = min(good, request[FINAL])
    orders_of(sides[1], request[TOUCHED], 0, rescored, request[EXACT_CODE], states[1], request[ORDERS])
    for i in range(rescored):
        key = key_of(read_i32(request[ORDERS] + 4 * i), np.int64(read_i32(request[TOUCHED] + 4 * i)))
        insert(pool, i, i + 1, place_of(pool, i, key), key)
    for i in range(request[TOP]):
        ids[i], scores[i] = -1, -np.inf
        if i < good:
            key = read_i64(pool + 8 * i)
            fine = 1 if i < rescored else 0
            ids[i], scores[i] = row_of(key), score_of(sides[fine], key >> 32, states[fine])


@compiled
def write_results(
    sides: Any, request: Any, pool: int, count: int, states: Any, ids: Any, scores: Any
) -> None:
    """Best TOP of the pool's rows that may be returned, the first FINAL of them re-scored; -1 where there are no more.

    `sides` and `states` are those of the codes and of the re-scoring copy.
    """
    good = gather(sides[1], request, pool, count)
    write_gathered(sides, request, pool, good, states, ids, scores)
