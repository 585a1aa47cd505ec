"""A pool: int64 keys in falling order, at an address. A key is an order (int32), a row and two flags.

Equal orders stand by rising row, so that ties are the same in every plan.
"""

from __future__ import annotations

import numpy as np

from paceline.vectors.compiled.compiler import compiled
from paceline.vectors.compiled.instructions import move, read_i64, write_i64
from paceline.vectors.compiled.records import MOST_ROWS

EXPANDED, ALLOWED = 1, 2
"""Flags of a key: its neighbours were looked at; it may be returned."""
LEAST = np.int64(-(1 << 63))
"""Below every key."""


@compiled
def key_of(order: int, row: int) -> int:
    """The key of a row, without flags."""
    return (np.int64(order) << 32) | np.int64((MOST_ROWS - 1 - row) << 2)


@compiled
def row_of(key: int) -> int:
    """The row that a key names."""
    return MOST_ROWS - 1 - ((key >> 2) & (MOST_ROWS - 1))


@compiled
def place_of(pool: int, count: int, key: int) -> int:
    """How many keys stand before `key`."""
    first, left = 0, count
    while left > 0:
        half = (left + 1) >> 1
        first += half if read_i64(pool + 8 * (first + half - 1)) > key else 0
        left -= half
    return first


@compiled
def insert(pool: int, count: int, room: int, place: int, key: int) -> int:
    """Put `key` at `place` < room, the last falls out of a full pool; returns the new count."""
    moved = min(count, room - 1) - place
    move(pool + 8 * (place + 1), pool + 8 * place, 8 * moved)
    write_i64(pool + 8 * place, key)
    return min(count + 1, room)
