"""int8 weights: one scale per output, symmetric around zero."""

from __future__ import annotations

from typing import Final

import numpy as np

LARGEST: Final = 127
"""Codes go from -127 to 127: -128 would have no opposite."""

_CHUNK_ROWS: Final = 4096


def quantize_rows(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n, k) in int8 and scales (n,) in float32, so that `codes * scales[:, None]` is near `weight` (n, k) float32.

    The largest value of a row becomes 127 or -127; ties round to even; a row of zeros has scale 1.
    """
    rows = len(weight)
    codes = np.empty(weight.shape, np.int8)
    scales = np.empty(rows, np.float32)
    for start in range(0, rows, _CHUNK_ROWS):  # bounds the copies made on the way
        part = weight[start : start + _CHUNK_ROWS]
        largest = np.abs(part).max(axis=1)
        scale = np.where(largest > 0, largest / np.float32(LARGEST), np.float32(1)).astype(np.float32)
        scales[start : start + _CHUNK_ROWS] = scale
        codes[start : start + _CHUNK_ROWS] = np.rint(part / scale[:, None])
    return codes, scales
