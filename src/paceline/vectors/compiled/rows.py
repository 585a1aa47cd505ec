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
    prefetch,
    read_f32,
    read_i32,
    write_f32,
    write_i8,
    write_i32,
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
    ROWS,
    SCALED,
    SHIFTED,
    SQUARED,
    STEP,
    STRIDE,
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


@compiled
def _address(side: Any, listed: int, first: int, i: int) -> int:
    row = np.int64(read_i32(listed + 4 * i)) if listed != 0 else first + i
    return side[ROWS] + row * side[STRIDE]


@compiled
def _write_order(side: Any, row: int, value: float, out: int) -> None:
    if side[SHIFTED] != 0:
        value += read_f32(row + side[FACTORS] + 4 * side[SCALED])
    write_i32(out, sortable(value))


@called
def orders_of(  # noqa: C901 - one branch a precision
    side: Any, listed: int, first: int, count: int, query: int, state: Any, out: int
) -> None:
    """What orders rows, int32 each, to `out`: of the `count` int32 rows at `listed`, or, if that is 0, from `first` on."""
    blocks, kind, alpha = side[BLOCKS], side[KIND], state[ALPHA]
    if kind == INT8 and side[SHIFTED] == 0:
        for i in range(count):
            write_i32(out + 4 * i, dot_int8(_address(side, listed, first, i), query, blocks))
    elif kind == INT8:
        for i in range(count):
            row = _address(side, listed, first, i)
            _write_order(side, row, alpha * np.float32(dot_int8(row, query, blocks)), out + 4 * i)
    elif kind == BINARY:
        lift = np.int32(state[LIFT])
        for i in range(count):
            row = _address(side, listed, first, i)
            agreed = alpha * np.float32(2 * dot_bits(row, query, blocks) - lift)
            _write_order(side, row, agreed * read_f32(row + side[FACTORS]), out + 4 * i)
    elif kind == FP16:
        for i in range(count):
            row = _address(side, listed, first, i)
            _write_order(side, row, alpha * dot_fp16(row, query, blocks), out + 4 * i)
    elif kind == BF16:
        for i in range(count):
            row = _address(side, listed, first, i)
            _write_order(side, row, alpha * dot_bf16(row, query, blocks), out + 4 * i)
    else:
        for i in range(count):
            row = _address(side, listed, first, i)
            _write_order(side, row, alpha * dot_fp32(row, query, blocks), out + 4 * i)


@compiled
def fetch_row(side: Any, row: int) -> None:
    """Start to fetch the whole row."""
    address = side[ROWS] + row * side[STRIDE]
    for offset in range(0, side[STRIDE], 64):
        prefetch(address + offset)


@compiled
def score_of(side: Any, order: int, state: Any) -> float:
    """The score of which `order` was made."""
    if side[KIND] == INT8 and side[SHIFTED] == 0:
        return state[ALPHA] * np.float32(order) + state[BETA]
    return float_of(np.int32(order ^ ((order >> 31) & 0x7FFFFFFF))) + state[BETA]
