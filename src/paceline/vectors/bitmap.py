"""Sets of rows as bits: row i is bit i % 64 of word i // 64; bits after the last row are zero."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bitmap = NDArray[np.uint64]


def words_for(rows: int) -> int:
    """Words of a bitmap of `rows` rows."""
    return -(-rows // 64)


def bitmap_of(mask: NDArray[np.bool_]) -> Bitmap:
    """The rows where `mask` (n,) is true."""
    octets = np.zeros(8 * words_for(len(mask)), np.uint8)
    packed = np.packbits(mask, bitorder="little")
    octets[: len(packed)] = packed
    return octets.view(np.uint64)


def bitmap_of_rows(rows: Any, count: int) -> Bitmap:
    """The given rows, out of `count`."""
    mask = np.zeros(count, np.bool_)
    mask[rows] = True
    return bitmap_of(mask)


def rows_of(bitmap: Bitmap, count: int) -> NDArray[np.int32]:
    """The rows below `count` in the set, rising."""
    mask = np.unpackbits(bitmap.view(np.uint8), count=count, bitorder="little")
    return np.flatnonzero(mask).astype(np.int32)


def size_of(bitmap: Bitmap) -> int:
    """How many rows are in the set."""
    return int(np.bitwise_count(bitmap).sum())


def among(rows: NDArray[np.int32], allowed: Bitmap | None, deleted: Bitmap | None) -> NDArray[np.int32]:
    """Those of `rows` that are allowed and not deleted, where either is said."""
    keep = np.ones(len(rows), np.bool_)
    for bitmap, wanted in ((allowed, 1), (deleted, 0)):
        if bitmap is not None:
            keep &= (bitmap[rows >> 6] >> (rows & 63).astype(np.uint64)) & np.uint64(1) == wanted
    return rows[keep]


def cut(bitmap: Bitmap | None, rows: int) -> Bitmap | None:
    """The first `rows` of a bitmap of more."""
    if bitmap is None:
        return None
    words = bitmap[: words_for(rows)].copy()
    if rows & 63:
        words[-1] &= (np.uint64(1) << np.uint64(rows & 63)) - np.uint64(1)
    return words
