"""Scores of encoded rows against a prepared query: the compiled twin of `Coder.prepare` and `Coder.scores`.

A query is prepared once for each side (`records`): bytes or floats as the rows want them, and three numbers in `state`.
What orders rows is an int32 that grows with the score; `score_of` makes the score of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from paceline.vectors.compiled.compiler import called, compiled
from paceline.vectors.compiled.instructions import (
    bits_of,
    dot_bf16,
    dot_bits,
    dot_fp16,
    dot_fp32,
    dot_int8,
    float_of,
    read_f32,
    write_f32,
    write_i8,
)
from paceline.vectors.compiled.records import (
    ALPHA,
    BETA,
    BF16,
    BINARY,
    BLOCK,
    BLOCKS,
    DIMENSIONS,
    FACTORS,
    FP16,
    INT8,
    KIND,
    LIFT,
    MIDDLE,
    OFFSET,
    SCALED,
    SHIFTED,
    SQUARED,
    STEP,
    UNIT,
)


@compiled
def sortable(value: float) -> int:
    """An int32 that orders as the float32 does; its own inverse on the bits."""
    bits = bits_of(value)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@compiled
def _largest_weight(side: Any, query: int, unit: float) -> float:
    largest = np.float32(0.0)
    for j in range(side[DIMENSIONS]):
        weight = abs(read_f32(query + 4 * j) * unit * read_f32(side[STEP] + 4 * j))
        largest = max(largest, weight)
    return largest


@called
def prepare(side: Any, query: int, out: int, state: Any) -> None:
    """Write the float32 vector at `query` as the rows of `side` want it at `out`; its numbers into `state`."""
    dimensions = side[DIMENSIONS]
    square = np.float32(0.0)
    for j in range(dimensions):
        value = read_f32(query + 4 * j)
        square += value * value
    unit = np.float32(1.0)
    if side[UNIT] != 0 and square > 0:
        unit = np.float32(1.0) / np.sqrt(square)
        square = np.float32(1.0)
    alpha, beta, lift = np.float32(1.0), np.float32(0.0), 0
    if side[KIND] < INT8:
        for j in range(dimensions):
            write_f32(out + 4 * j, read_f32(query + 4 * j) * unit)
        for j in range(dimensions, side[BLOCKS] * BLOCK):
            write_f32(out + 4 * j, np.float32(0.0))
    else:
        largest = _largest_weight(side, query, unit)
        if largest > 0:
            alpha = largest / np.float32(127.0)
        inverse = np.float32(1.0) / alpha
        middle = np.float32(MIDDLE if side[KIND] == INT8 else 0.0)
        for j in range(dimensions):
            value = read_f32(query + 4 * j) * unit
            step = read_f32(side[STEP] + 4 * j)
            code = int(np.rint(value * step * inverse))
            lift += code
            write_i8(out + j, code)
            beta += value * (read_f32(side[OFFSET] + 4 * j) + middle * step)
        for j in range(dimensions, side[BLOCKS] * BLOCK):
            write_i8(out + j, 0)
        beta -= alpha * middle * np.float32(lift)
    if side[SQUARED] != 0:
        alpha, beta = np.float32(2.0) * alpha, np.float32(2.0) * beta - square
    state[ALPHA], state[BETA], state[LIFT] = alpha, beta, lift


@called
def order_of(side: Any, row: int, query: int, state: Any) -> int:
    """What orders the row at address `row`: higher is better."""
    blocks = side[BLOCKS]
    kind = side[KIND]
    if kind == INT8:
        whole = dot_int8(row, query, blocks)
        if side[SHIFTED] == 0:
            return whole
        value = state[ALPHA] * np.float32(whole)
    elif kind == BINARY:
        whole = 2 * dot_bits(row, query, blocks) - np.int32(state[LIFT])
        value = state[ALPHA] * np.float32(whole) * read_f32(row + side[FACTORS])
    elif kind == FP16:
        value = state[ALPHA] * dot_fp16(row, query, blocks)
    elif kind == BF16:
        value = state[ALPHA] * dot_bf16(row, query, blocks)
    else:
        value = state[ALPHA] * dot_fp32(row, query, blocks)
    if side[SHIFTED] != 0:
        value += read_f32(row + side[FACTORS] + 4 * side[SCALED])
    return sortable(value)


@compiled
def score_of(side: Any, order: int, state: Any) -> float:
    """The score of which `order` was made."""
    if side[KIND] == INT8 and side[SHIFTED] == 0:
        return state[ALPHA] * np.float32(order) + state[BETA]
    return float_of(np.int32(order ^ ((order >> 31) & 0x7FFFFFFF))) + state[BETA]
