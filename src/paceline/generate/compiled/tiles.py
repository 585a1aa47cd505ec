"""Micro-kernels: a few rows times one panel of weights, sums kept in registers from the first product to the last.

A panel is 32 columns of a weight matrix, stored as the kernel reads it. One step is four bytes of each column: four
int8, two bfloat16 or one float32 values, in the order of the inputs.

    step 0:  column 0 [w0 w1 w2 w3]  column 1 [w0 w1 w2 w3]  ...  column 31     128 bytes, two registers
    step 1:  column 0 [w4 w5 w6 w7]  ...

A row of activations is its values in order (so four bytes are one step too), then a trailer of 64 bytes: the scale of
the row (float32) and what its sums start from (int32), both used by int8 only. The instruction multiplies unsigned by
signed numbers; weights are stored with 128 added, so sums start from -128 times the sum of the row.

A sum adds its products in the order of the inputs whatever the number of rows: a row's result is the same bits in any
tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types

from paceline.generate.compiled.lanes import (
    F32,
    F32X16,
    I8,
    I32,
    I32X16,
    I64,
    declared,
    instruction,
    pointer,
    splat_value,
)

PANEL = 32
"""Columns of a panel."""
STEP_BYTES = 4
PANEL_STEP_BYTES = PANEL * STEP_BYTES
ROW_TRAILER = 64
"""Bytes behind a row's values; they also keep rows of 4,096 values from competing for the same lines of the cache."""
TILE_ROWS = 14
"""Rows of a tile at most: 28 registers of sums, two of weights."""

_VECTORS = PANEL // 16
_REGISTER = 64
_BF16X32 = ir.VectorType(ir.IntType(16), 32)


def function_per_size(
    builder: ir.IRBuilder,
    sizes: Sequence[int],
    chosen: ir.Value,
    args: Sequence[ir.Value],
    body: Any,
    name: str,
) -> None:
    """Call the function that `body(ir_builder, size, args)` writes for the size `chosen` (i64), one of `sizes`."""
    module = builder.module
    kind = ir.FunctionType(ir.VoidType(), [I64] * len(args))
    after = builder.append_basic_block("after")
    cases = []
    for size in sizes:
        own = f"paceline_{name}_{size}"
        function = module.globals.get(own)
        if function is None:
            function = ir.Function(module, kind, own)
            function.linkage = "internal"
            function.attributes.add("noinline")
            inner = ir.IRBuilder(function.append_basic_block("entry"))
            body(inner, size, function.args)
            inner.ret_void()
        cases.append((size, function))
    blocks = [builder.append_basic_block(f"size{size}") for size, _ in cases]
    switch = builder.switch(chosen, blocks[-1])
    for (size, function), block in zip(cases, blocks, strict=True):
        switch.add_case(I64(size), block)
        builder.position_at_end(block)
        builder.call(function, args)
        builder.branch(after)
    builder.position_at_end(after)


def counted_loop(
    builder: ir.IRBuilder, count: ir.Value, carried: Sequence[ir.Value], body: Any
) -> list[ir.Value]:
    """`carried = body(builder, number, carried)` for each number below `count`, at least once; values in registers."""
    before = builder.block
    loop = builder.append_basic_block("loop")
    after = builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    number = builder.phi(I64)
    number.add_incoming(I64(0), before)
    held = [builder.phi(value.type) for value in carried]
    for phi, value in zip(held, carried, strict=True):
        phi.add_incoming(value, before)
    results = body(builder, number, held)
    following = builder.add(number, I64(1))
    end = builder.block  # the body may have loops of its own
    number.add_incoming(following, end)
    for phi, value in zip(held, results, strict=True):
        phi.add_incoming(value, end)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
    builder.position_at_end(after)
    return list(results)


def _load_register(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    value = builder.load(pointer(builder, address, kind))
    value.align = _REGISTER
    return value


def _add_products(
    builder: ir.IRBuilder, kind: types.Type, sums: ir.Value, weights: ir.Value, step: ir.Value
) -> ir.Value:
    """The sums (16 columns) with one step's products added; `step` holds four bytes of a row."""
    if kind == types.int8:
        dot = declared(builder, "llvm.x86.avx512.vpdpbusd.512", I32X16, I32X16, I32X16, I32X16)
        return builder.call(dot, [sums, weights, splat_value(builder, step, I32X16)])
    if kind == types.uint16:
        pairs = ir.VectorType(_BFLOAT, 32)
        dot = declared(builder, "llvm.x86.avx512bf16.dpbf16ps.512", F32X16, F32X16, pairs, pairs)
        spread = builder.bitcast(splat_value(builder, step, I32X16), pairs)
        return builder.call(dot, [sums, builder.bitcast(weights, pairs), spread])
    fma = declared(builder, "llvm.fma.v16f32", F32X16, F32X16, F32X16, F32X16)
    spread = splat_value(builder, builder.bitcast(step, F32), F32X16)
    return builder.call(fma, [builder.bitcast(weights, F32X16), spread, sums])


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not name."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


_BFLOAT = _BFloat()


def _multiply_body(kind: types.Type) -> Any:
    """Writes the tile for so many rows."""

    def body(builder: ir.IRBuilder, rows: int, args: Sequence[ir.Value]) -> None:
        first, stride, weights, steps, out, ahead, pace = args
        fetch = declared(builder, "llvm.prefetch.p0", ir.VoidType(), I8.as_pointer(), I32, I32, I32)
        starts = [builder.add(first, builder.mul(stride, I64(row))) for row in range(rows)]
        sums: list[ir.Value] = []
        for start in starts:
            begin = ir.Constant(F32X16, None)
            if kind == types.int8:
                offset = builder.add(start, builder.sub(stride, I64(ROW_TRAILER - 4)))
                begin = splat_value(builder, builder.load(pointer(builder, offset, I32)), I32X16)
            sums += [begin] * _VECTORS
        values = [pointer(builder, start, I32) for start in starts]

        def add_step(inner: ir.IRBuilder, step: ir.Value, held: list[ir.Value]) -> list[ir.Value]:
            place = inner.add(weights, inner.mul(step, I64(PANEL_STEP_BYTES)))
            columns = [
                _load_register(inner, inner.add(place, I64(_REGISTER * vector)), I32X16)
                for vector in range(_VECTORS)
            ]
            # What is read next, into the second cache: the memory works while the arithmetic does.
            line = inner.add(ahead, inner.mul(step, pace))
            for place_ahead in (line, inner.add(line, I64(_REGISTER))):
                inner.call(fetch, [pointer(inner, place_ahead, I8), I32(0), I32(2), I32(1)])
            results: list[ir.Value] = []
            for row in range(rows):
                four = inner.load(inner.gep(values[row], [step]))
                four.align = STEP_BYTES
                results += [
                    _add_products(inner, kind, held[row * _VECTORS + vector], columns[vector], four)
                    for vector in range(_VECTORS)
                ]
            return results

        for number, total in enumerate(counted_loop(builder, steps, sums, add_step)):
            place = builder.add(out, I64(_REGISTER * number))
            builder.store(total, pointer(builder, place, total.type)).align = _REGISTER

    return body


@instruction
def multiply(
    _: Any,
    kind: Any,
    rows: Any,
    first: Any,
    stride: Any,
    weights: Any,
    steps: Any,
    out: Any,
    ahead: Any,
    pace: Any,
) -> Any:
    """Sums of `rows` (1 to 14) rows from `first`, `stride` bytes apart, with a panel, into `out` (rows, 32).

    The sums are int32 for weights of the type int8 (`kind`), float32 for uint16 (bfloat16) and float32. `ahead` is
    where memory is read next: in each step two lines are fetched from there, and it moves by `pace` bytes. `out` and
    `weights` begin on a line.
    """

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        of = sig.args[0]
        function_per_size(
            builder, range(1, TILE_ROWS + 1), args[1], args[2:], _multiply_body(of), f"multiply_{of}"
        )
        return context.get_dummy_value()

    return types.void(kind, *[types.int64] * 8), emit
