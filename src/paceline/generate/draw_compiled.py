"""Drawing tokens from many rows, compiled: the twin of `draw`, which says what is computed. Needs numba.

A row of 32,000 logits stays in the second-level cache, so what costs is the number of passes over it: one for a
greedy row, three for a plain draw. Top-k and top-p need no sorting: a cut is a least weight, found by halving.
Loops run over slices, and floats are compared as whole numbers where it matters, because that is what the compiler
turns into vector instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from zlib import crc32

import numba
import numpy as np

from paceline.generate import draw
from paceline.generate.draw import LEAST_EXPONENT, POWER, SPAN, WEIGHT, Fault

F = TypeVar("F", bound=Callable[..., Any])

ORDER: Final = np.dtype(
    [
        *((name, "f8") for name in ("scale", "top_p", "uniform")),
        *((name, "i8") for name in ("top_k", "least_weight", "token", "fault")),
    ]
)
"""One row's draw, as `Shape` has it, and what came of it."""

# Plain numbers: the compiler closes over constants, not over an enumeration's members.
_NONE, _NOT_A_NUMBER = int(Fault.NONE), int(Fault.NOT_A_NUMBER)
_INFINITE, _NOTHING_LEFT = int(Fault.INFINITE), int(Fault.NOTHING_LEFT)
_LEAST_EXPONENT, _WEIGHT = np.float32(LEAST_EXPONENT), np.float32(WEIGHT)
_C0, _C1, _C2, _C3, _C4, _C5, _C6 = (np.float32(coefficient) for coefficient in POWER)
_INF_KEY: Final = 0x7F800000
"""Plus infinity's bits; those of a NaN without sign are higher."""
_MINUS_INF_KEY: Final = -0x7F800001
"""Minus infinity's place in the order of `_key`; a NaN with a sign is below."""

# Without `_nrt` arrays are not counted, and in return nothing is allocated inside.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}


def _compiled(function: F) -> F:
    return cast("F", numba.njit(inline="never", **_OPTIONS)(function))


@_compiled
def _highest(logits: Any, bits: Any) -> Any:
    """(token with the highest logit, fault) of a row; `bits` are the logits' as int32."""
    least: Any = 0
    most: Any = -(1 << 31)
    at = 0
    for start in range(0, len(bits), SPAN):
        piece = bits[start : start + SPAN]
        low, high = np.int32(0), np.int32(-(1 << 31))
        for i in range(len(piece)):
            # As whole numbers, floats are in order once the negative ones' other bits are turned over.
            key = piece[i] ^ ((piece[i] >> np.int32(31)) & np.int32(0x7FFFFFFF))
            low, high = min(low, key), max(high, key)
        least = min(least, low)
        if high > most:
            most, at = high, start
    if most > _INF_KEY or least < _MINUS_INF_KEY:
        return 0, _NOT_A_NUMBER
    if most == _INF_KEY:
        return 0, _INFINITE
    if most == _MINUS_INF_KEY:
        return 0, _NOTHING_LEFT
    while bits[at] ^ ((bits[at] >> 31) & 0x7FFFFFFF) != most:
        at += 1
    if logits[at] == 0.0:  # minus zero is as high as zero, and has another key
        at = 0
        while logits[at] != 0.0:
            at += 1
    return at, _NONE


@_compiled
def _weigh(logits: Any, highest: Any, scale: Any, weights: Any, sums: Any) -> Any:
    """Fill `weights`, and `sums` with one sum for each SPAN of them; returns the sum of all."""
    total = 0
    for number in range(len(sums)):
        piece = logits[number * SPAN : (number + 1) * SPAN]
        target = weights[number * SPAN : (number + 1) * SPAN]
        for i in range(len(piece)):
            exponent = max((piece[i] - highest) * scale, _LEAST_EXPONENT)
            whole = np.rint(exponent)
            x = exponent - whole
            power = (((((_C6 * x + _C5) * x + _C4) * x + _C3) * x + _C2) * x + _C1) * x + _C0
            shift = np.int32(-whole)
            target[i] = (np.int32(power * _WEIGHT) + ((np.int32(1) << shift) >> np.int32(1))) >> shift
        here = 0
        for i in range(len(target)):
            here += target[i]
        sums[number] = here
        total += here
    return total


@_compiled
def _count(weights: Any, least: Any) -> Any:
    """How many are at least `least`."""
    count: Any = np.int32(0)
    for i in range(len(weights)):
        count += np.int32(weights[i] >= least)
    return count


@_compiled
def _sum(weights: Any, least: Any) -> Any:
    """The sum of those that are at least `least`."""
    total: Any = 0
    for i in range(len(weights)):
        total += weights[i] if weights[i] >= least else np.int32(0)
    return total


@_compiled
def _kth(weights: Any, k: int) -> int:
    """The k-th largest weight, 1 at least."""
    low, high = 1, WEIGHT + 1  # `low` keeps k or is 1, `high` keeps fewer
    while high - low > 1:
        middle = (low + high) >> 1
        count = _count(weights, np.int32(middle))
        if count >= k:
            low = middle
        else:
            high = middle
    return low


@_compiled
def _nucleus(weights: Any, least: int, wanted: int) -> int:
    """The largest weight, `least` at least, such that those that weigh as much or more sum to `wanted`."""
    low, high = least, WEIGHT + 1
    while high - low > 1:
        middle = (low + high) >> 1
        if _sum(weights, np.int32(middle)) >= wanted:
            low = middle
        else:
            high = middle
    return low


@_compiled
def _fall(weights: Any, sums: Any, least: Any, place: int) -> int:
    """The token on which `place` falls when the weights of those kept lie side by side."""
    number = 0
    while place >= sums[number]:
        place -= sums[number]
        number += 1
    at = number * SPAN
    while True:
        if weights[at] >= least:
            place -= weights[at]
            if place < 0:
                return at
        at += 1


@_compiled
def _draw(logits: Any, bits: Any, order: Any, weights: Any, sums: Any) -> None:
    token, fault = _highest(logits, bits)
    order.token, order.fault = token, fault
    if fault != _NONE or order.scale == 0.0:
        return
    total = _weigh(logits, logits[token], np.float32(order.scale), weights, sums)
    least = 1
    if 0 < order.top_k < len(weights):
        least = _kth(weights, order.top_k)
    if order.top_p < 1.0:
        among = _sum(weights, np.int32(least)) if least > 1 else total
        least = _nucleus(weights, least, max(1, int(ceil(order.top_p * float(among)))))  # noqa: RUF046 - not here
    least = max(least, order.least_weight)
    if least > 1:
        total = 0
        for number in range(len(sums)):
            sums[number] = _sum(weights[number * SPAN : (number + 1) * SPAN], np.int32(least))
            total += sums[number]
    place = min(int(order.uniform * float(total)), total - 1)
    order.token = _fall(weights, sums, np.int32(least), place)


def _entry(digest: int) -> Callable[..., None]:
    def draw_rows(logits: Any, bits: Any, orders: Any, weights: Any, sums: Any) -> None:
        digest  # noqa: B018 - closed over, so that other figures in `draw` are another function to the cache
        for row in range(len(orders)):
            if orders[row].fault == _NONE:
                _draw(logits[row], bits[row], orders[row], weights, sums)

    try:
        return cast("Callable[..., None]", numba.njit(cache=True, **_OPTIONS)(draw_rows))
    except (
        RuntimeError
    ):  # neither beside the sources nor in the user's cache: each process compiles for itself
        return cast("Callable[..., None]", numba.njit(**_OPTIONS)(draw_rows))


draw_rows = _entry(crc32(Path(str(draw.__file__)).read_bytes()))
"""Fill token and fault of `orders`, ORDER (W,), from `logits` (W, V) float32; rows with a fault are left alone.

`bits` are the logits seen as int32. `weights` (V,) int32 and `sums` int64, one for each begun SPAN of the vocabulary,
are room to work in.
"""
