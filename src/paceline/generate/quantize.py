"""Weights in 8 and 4 bits: int8 with a scale for each output, int4 with a scale and a middle for each group."""

from __future__ import annotations

from typing import Final

import numpy as np

LARGEST: Final = 127
"""Codes go from -127 to 127: -128 would have no opposite."""

GROUP_SIZES: Final = (128, 64, 32)
"""Weights that share an int4 scale; the first that divides a row is taken."""

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


def group_size(inputs: int) -> int | None:
    """Of rows of so many weights; None when they cannot be cut into groups."""
    return next((size for size in GROUP_SIZES if inputs % size == 0), None)


def quantize_groups(weight: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes (n, k) in uint8 from 0 to 15, scales and middles (n, k / group) in float32 of `weight` (n, k) float32.

    `(codes - 8) * scale + middle` is near the weight. Scales and middles are numbers of bf16, which the kernels keep.
    """
    outputs, inputs = weight.shape
    groups = weight.reshape(outputs, inputs // group, group)
    low, high = groups.min(axis=2), groups.max(axis=2)
    scales = _bf16(np.maximum((high - low) / np.float32(15), np.float32(1e-8)))
    middles = _bf16(low + 8 * scales)
    codes = np.rint((groups - middles[:, :, None]) / scales[:, :, None]) + 8
    return np.clip(codes, 0, 15).astype(np.uint8).reshape(outputs, inputs), scales, middles


def _bf16(values: np.ndarray) -> np.ndarray:
    """Rounded to the nearest bf16 (ties away from zero), as float32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)
