"""Micro-kernels of attention: a few query rows with four blocks (64 tokens) of keys, or of values.

Keys lie with the tokens side by side, [head_dim][16 tokens], so that one register holds one dimension of 16 tokens and
a score needs no sum across a register. Values lie [16 tokens][head_dim]. Both add in a fixed order whatever the
number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types

from paceline.generate.compiled.lanes import (
    F32,
    F32X16,
    I64,
    declared,
    instruction,
    pointer,
    read_lanes,
    splat_value,
)
from paceline.generate.compiled.tiles import counted_loop, function_per_size

SCORE_BLOCKS = 4
"""Blocks of keys that are scored at once."""
SCORE_ROWS = 6
"""Query rows of a tile at most: 24 registers of sums, four of keys."""
_TOKENS = 16
_LANES_BYTES = 64
_BYTES = {types.int8: 1, types.uint16: 2, types.float32: 4}


def _weighted(
    builder: ir.IRBuilder,
    rows: Sequence[ir.Value],
    step: ir.Value,
    held: Sequence[ir.Value],
    lanes: Sequence[ir.Value],
) -> list[ir.Value]:
    """`held` (rows x lanes) with `lanes` times number `step` of each row added."""
    fma = declared(builder, "llvm.fma.v16f32", F32X16, F32X16, F32X16, F32X16)
    results = []
    for row, start in enumerate(rows):
        number = builder.load(builder.gep(start, [step]))
        spread = splat_value(builder, number, F32X16)
        for lane, values in enumerate(lanes):
            results.append(builder.call(fma, [values, spread, held[row * len(lanes) + lane]]))
    return results


def _row_pointers(builder: ir.IRBuilder, first: ir.Value, stride: ir.Value, rows: int) -> list[ir.Value]:
    return [pointer(builder, builder.add(first, builder.mul(stride, I64(row))), F32) for row in range(rows)]


def _score_body(kind: types.Type) -> Any:
    def body(builder: ir.IRBuilder, rows: int, args: Sequence[ir.Value]) -> None:
        queries, blocks, dims, out = args
        starts = _row_pointers(builder, queries, builder.mul(dims, I64(4)), rows)
        table = pointer(builder, blocks, I64)
        keys = [builder.load(builder.gep(table, [I64(block)])) for block in range(SCORE_BLOCKS)]

        def add_dimension(inner: ir.IRBuilder, dim: ir.Value, held: list[ir.Value]) -> list[ir.Value]:
            offset = inner.mul(dim, I64(_TOKENS * _BYTES[kind]))
            lanes = [read_lanes(inner, kind, inner.add(key, offset)) for key in keys]
            return _weighted(inner, starts, dim, held, lanes)

        zeros = [ir.Constant(F32X16, None)] * (rows * SCORE_BLOCKS)
        for number, total in enumerate(counted_loop(builder, dims, zeros, add_dimension)):
            place = builder.add(out, I64(_LANES_BYTES * number))
            builder.store(total, pointer(builder, place, F32X16)).align = _LANES_BYTES

    return body


@instruction
def score(_: Any, kind: Any, rows: Any, queries: Any, blocks: Any, dims: Any, out: Any) -> Any:
    """Products of `rows` (1 to 6) queries (rows, dims) with the keys at four addresses, into `out` (rows, 64)."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        of = sig.args[0]
        sizes = range(1, SCORE_ROWS + 1)
        function_per_size(builder, sizes, args[1], args[2:], _score_body(of), f"score_{of}")
        return context.get_dummy_value()

    return types.void(kind, *[types.int64] * 5), emit


def _mix_body(kind: types.Type, width: int) -> Any:
    """Writes the kernel for `width` registers of dimensions."""

    def body(builder: ir.IRBuilder, rows: int, args: Sequence[ir.Value]) -> None:
        weights, blocks, tokens, dims, offset, out = args
        starts = _row_pointers(builder, weights, I64(_LANES_BYTES * SCORE_BLOCKS), rows)
        table = pointer(builder, blocks, I64)
        pitch = builder.mul(dims, I64(_BYTES[kind]))
        skip = builder.mul(offset, I64(_BYTES[kind]))
        row_bytes = builder.mul(dims, I64(4))
        places = [
            builder.add(
                builder.add(out, builder.mul(row_bytes, I64(row))),
                builder.add(builder.mul(offset, I64(4)), I64(_LANES_BYTES * lane)),
            )
            for row in range(rows)
            for lane in range(width)
        ]
        sums = [read_lanes(builder, types.float32, place) for place in places]

        def add_block(outer: ir.IRBuilder, block: ir.Value, held: list[ir.Value]) -> list[ir.Value]:
            done = outer.mul(block, I64(_TOKENS))
            values = outer.add(outer.load(outer.gep(table, [block])), skip)
            rest = outer.sub(tokens, done)
            count = outer.select(outer.icmp_signed("<", rest, I64(_TOKENS)), rest, I64(_TOKENS))

            def add_token(inner: ir.IRBuilder, token: ir.Value, own: list[ir.Value]) -> list[ir.Value]:
                place = inner.add(values, inner.mul(token, pitch))
                step = _LANES_BYTES * _BYTES[kind] // 4
                lanes = [read_lanes(inner, kind, inner.add(place, I64(step * lane))) for lane in range(width)]
                return _weighted(inner, starts, inner.add(done, token), own, lanes)

            return counted_loop(outer, count, held, add_token)

        used = builder.sdiv(builder.add(tokens, I64(_TOKENS - 1)), I64(_TOKENS))
        for place, total in zip(places, counted_loop(builder, used, sums, add_block), strict=True):
            builder.store(total, pointer(builder, place, F32X16)).align = 4

    return body


def _mix_of(width: int) -> Any:
    def mix(
        _: Any, kind: Any, rows: Any, weights: Any, blocks: Any, tokens: Any, dims: Any, offset: Any, out: Any
    ) -> Any:
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            of = sig.args[0]
            sizes = range(1, SCORE_ROWS + 1)
            name = f"mix{width}_{of}"
            function_per_size(builder, sizes, args[1], args[2:], _mix_body(of, width), name)
            return context.get_dummy_value()

        return types.void(kind, *[types.int64] * 7), emit

    return instruction(mix)


mix_64, mix_32, mix_16 = _mix_of(4), _mix_of(2), _mix_of(1)
"""mix_N(kind, rows, weights, blocks, tokens, dims, offset, out): add to N dimensions from `offset` of `out` (rows, dims)
the values at the addresses `blocks` (4), each token's times its weight in `weights` (rows, 64), for 1 to 64 tokens."""
