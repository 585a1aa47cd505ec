"""What is done to one row at a time: embed, normalise, make ready for a product, rotate, keep keys and values."""

from __future__ import annotations

from typing import Any

import numpy as np

from paceline.generate.compiled import lanes
from paceline.generate.compiled.crew import compiled, inlined
from paceline.generate.compiled.lanes import Lanes
from paceline.generate.compiled.tiles import ROW_TRAILER
from paceline.generate.compiled.words import read, same_type, write

INT8, BF16, INT32, FLOAT = np.int8(0), np.uint16(0), np.int32(0), np.float32(0)
"""Kinds: compiled functions choose by the type of such a number. BF16 stands for bfloat16, by its bits."""

_LINE = 64
"""Bytes of sixteen float32."""
_TOKENS = 16
_LOG2E = np.float32(1.4426950408889634)


@inlined
def power(exponent: Lanes) -> Lanes:
    """2 ** exponent for exponents up to 127: exactly 0 below -126.5, 1 at 0, else within 2e-7 of it."""
    exponent = lanes.larger(exponent, lanes.splat(np.float32(-127.0)))
    whole = lanes.nearest(exponent)
    rest = exponent - whole
    value = lanes.splat(np.float32(1.5252733804059840e-5))
    value = lanes.fma(value, rest, lanes.splat(np.float32(1.5403530393381608e-4)))
    value = lanes.fma(value, rest, lanes.splat(np.float32(1.3333558146428443e-3)))
    value = lanes.fma(value, rest, lanes.splat(np.float32(9.6181291076284772e-3)))
    value = lanes.fma(value, rest, lanes.splat(np.float32(5.5504108664821580e-2)))
    value = lanes.fma(value, rest, lanes.splat(np.float32(2.4022650695910071e-1)))
    value = lanes.fma(value, rest, lanes.splat(np.float32(6.9314718055994531e-1)))
    value = lanes.fma(value, rest, lanes.splat(np.float32(1.0)))
    return value * lanes.power_of_two(whole)


@inlined
def gated(gate: Lanes, up: Lanes) -> Lanes:
    """silu(gate) * up."""
    one = lanes.splat(np.float32(1.0))
    falling = lanes.smaller(gate * lanes.splat(-_LOG2E), lanes.splat(np.float32(126.0)))
    return gate * up / (one + power(falling))


@compiled
def embed(model: Any, token: int, out: int) -> None:
    """The token's row of the embedding table, as float32."""
    row = model.embedding + token * model.hidden * model.embedding_bytes
    for at in range(0, model.hidden, _TOKENS):
        if model.embedding_bytes == 4:
            values = lanes.load(row + 4 * at)
        elif model.embedding_is_half:
            values = lanes.load_half(row + 2 * at)
        else:
            values = lanes.load_as(BF16, row + 2 * at)
        lanes.store(out + 4 * at, values)


@inlined
def _inverse_size(row: int, count: int, size: int, eps: np.float32) -> np.float32:
    """1 / sqrt(mean of squares + eps), the mean over `size` values."""
    squares = lanes.splat(np.float32(0.0))
    for at in range(0, count, _TOKENS):
        values = lanes.load(row + 4 * at)
        squares = lanes.fma(values, values, squares)
    return np.float32(1.0) / np.sqrt(lanes.total(squares) / np.float32(size) + eps)


@compiled
def normalise(row: int, weight: int, eps: np.float32, count: int, size: int, out: int) -> None:
    """RMS norm of `size` float32, filled with zeros to `count`; `out` may be `row`."""
    factor = lanes.splat(_inverse_size(row, count, size, eps))
    for at in range(0, count, _TOKENS):
        lanes.store(out + 4 * at, lanes.load(row + 4 * at) * factor * lanes.load(weight + 4 * at))


@inlined
def largest_magnitude(row: int, count: int) -> np.float32:
    """Of `count` float32."""
    most = lanes.splat(np.float32(0.0))
    for at in range(0, count, _TOKENS):
        most = lanes.larger(most, lanes.magnitude(lanes.load(row + 4 * at)))
    return lanes.largest(most)


@inlined
def input_bytes(kind: Any, count: int) -> int:
    """Of a row of `count` values made ready, trailer included."""
    if same_type(kind, INT8):
        return count + ROW_TRAILER
    if same_type(kind, BF16):
        return 2 * count + ROW_TRAILER
    return 4 * count + ROW_TRAILER


@compiled
def make_input(kind: Any, row: int, count: int, out: int) -> None:
    """`count` float32 as micro-kernels take them. In int8 the largest becomes 127 or -127, ties round to even."""
    if same_type(kind, INT8):
        most = largest_magnitude(row, count)
        scale = most / np.float32(127.0) if most > np.float32(0.0) else np.float32(1.0)
        factor = lanes.splat(np.float32(1.0) / scale)
        sums = lanes.splat(np.float32(0.0))  # of whole numbers below 2 ** 24: exact
        for at in range(0, count, _TOKENS):
            codes = lanes.nearest(lanes.load(row + 4 * at) * factor)
            sums = sums + codes
            lanes.store_as(INT8, out + at, codes)
        total = lanes.total(sums)
        # An infinity or a NaN makes the sum NaN, and must make all results of the row NaN: it has no codes.
        healthy = total == total  # noqa: PLR0124
        write(FLOAT, out + count, scale if healthy else np.float32(np.nan))
        write(INT32, out + count + 4, np.int32(np.float32(-128.0) * total) if healthy else np.int32(0))
    else:
        size = 2 if same_type(kind, BF16) else 4
        for at in range(0, count, _TOKENS):
            lanes.store_as(kind, out + size * at, lanes.load(row + 4 * at))


@compiled
def rotate(row: int, table: int, dims: int) -> None:
    """Turn the pairs (i, i + dims / 2) of one head by the angles of `table`: dims / 2 cosines, then sines."""
    half = dims // 2
    if half % _TOKENS == 0:
        for at in range(0, 4 * half, _LINE):
            cosine, sine = lanes.load(table + at), lanes.load(table + 4 * half + at)
            low, high = lanes.load(row + at), lanes.load(row + 4 * half + at)
            lanes.store(row + at, low * cosine - high * sine)
            lanes.store(row + 4 * half + at, high * cosine + low * sine)
    else:
        for at in range(0, 4 * half, 4):
            cosine, sine = read(FLOAT, table + at), read(FLOAT, table + 4 * half + at)
            low, high = read(FLOAT, row + at), read(FLOAT, row + 4 * half + at)
            write(FLOAT, row + at, low * cosine - high * sine)
            write(FLOAT, row + 4 * half + at, high * cosine + low * sine)


@inlined
def kv_size(kind: Any) -> int:
    """Bytes of a number."""
    if same_type(kind, INT8):
        return 1
    return 2 if same_type(kind, BF16) else 4


@compiled
def keep(kind: Any, keys: int, values: int, dims: int, head: int, place: int, scratch: int) -> None:
    """Write one token's keys and values (dims float32 each) to place 0 to 15 of a head of a block.

    A head of a block: keys [dims][16 tokens], values [16 tokens][dims], in int8 then 16 scales of keys and of values.
    """
    size = kv_size(kind)
    block = _TOKENS * dims * size
    if same_type(kind, INT8):
        for part in range(2):
            source = keys if part == 0 else values
            scale = largest_magnitude(source, dims) / np.float32(127.0)
            factor = lanes.splat(np.float32(1.0) / scale if scale > np.float32(0.0) else np.float32(0.0))
            target = scratch if part == 0 else head + block + dims * place
            sums = lanes.splat(np.float32(0.0))
            for at in range(0, dims, _TOKENS):
                codes = lanes.nearest(lanes.load(source + 4 * at) * factor)
                sums = sums + codes
                lanes.store_as(INT8, target + at, codes)
            total = lanes.total(sums)
            healthy = total == total  # noqa: PLR0124 - NaN, as in `make_input`
            write(
                FLOAT, head + 2 * block + part * _LINE + 4 * place, scale if healthy else np.float32(np.nan)
            )
    else:
        for at in range(0, dims, _TOKENS):
            lanes.store_as(kind, scratch + size * at, lanes.load(keys + 4 * at))
            lanes.store_as(kind, head + block + size * (dims * place + at), lanes.load(values + 4 * at))
    for dim in range(dims):  # a column of the keys
        write(kind, head + size * (_TOKENS * dim + place), read(kind, scratch + size * dim))
