"""Machine instructions for compiled functions: memory at addresses, and dot products of one row with one query.

Addresses are plain integers in bytes; nothing here checks them. Rows and queries are whole blocks of 64 elements, zero
beyond the last dimension. The width of a step is the machine's: 512-bit multiply-add of bytes where there is one,
256-bit pairs on AVX2, what LLVM makes of plain vectors elsewhere; the results of integers are the same on all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from paceline.vectors.compiled.records import BLOCK

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
_F16, _F32 = ir.HalfType(), ir.FloatType()


def _features() -> frozenset[str]:
    """Features that code is compiled for: the host's, or those that NUMBA_CPU_FEATURES allows."""
    named = numba.config.CPU_FEATURES
    if named is None:
        host = binding.get_host_cpu_features()
        return frozenset(name for name, present in host.items() if present)
    return frozenset(item[1:] for item in named.split(",") if item.startswith("+"))


FEATURES = _features()
BYTES_STEP = (
    "vnni512" if {"avx512vnni", "avx512bw"} <= FEATURES else "pairs256" if "avx2" in FEATURES else "plain"
)
"""How bytes are multiplied on this machine; reported by benchmarks."""


def _vector(element: ir.Type, count: int) -> ir.VectorType:
    return ir.VectorType(element, count)


def _constant(kind: ir.VectorType, value: float) -> ir.Constant:
    return ir.Constant(kind, [ir.Constant(kind.element, value)] * kind.count)


def _declared(builder: ir.IRBuilder, name: str, returns: ir.Type, *takes: ir.Type) -> ir.Function:
    module = builder.module
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(returns, takes), name)


def _load(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 1
    return value


def _at(builder: ir.IRBuilder, address: ir.Value, offset: int) -> ir.Value:
    return builder.add(address, _I64(offset)) if offset else address


def _fold(builder: ir.IRBuilder, value: ir.Value, join: Callable[[ir.Value, ir.Value], ir.Value]) -> ir.Value:
    """Join the upper half with the lower until one element is left: the same order always."""
    width = value.type.count
    nothing = ir.Constant(value.type, ir.Undefined)
    while width > 1:
        width //= 2
        low = ir.Constant(_vector(_I32, width), list(range(width)))
        high = ir.Constant(_vector(_I32, width), list(range(width, 2 * width)))
        value = join(
            builder.shuffle_vector(value, nothing, low), builder.shuffle_vector(value, nothing, high)
        )
        nothing = ir.Constant(value.type, ir.Undefined)
    return builder.extract_element(value, _I32(0))


Step = Callable[[ir.IRBuilder, ir.Value, ir.Value, list[ir.Value]], list[ir.Value]]


def _over_blocks(
    builder: ir.IRBuilder,
    args: tuple[ir.Value, ir.Value, ir.Value],
    zeros: list[ir.Constant],
    strides: tuple[int, int],
    step: Step,
) -> list[ir.Value]:
    """Sums after `step(builder, row, query, sums)` on each of args[2] >= 1 blocks, `strides` bytes apart."""
    row, query, blocks = args
    before, loop = builder.block, builder.append_basic_block("blocks")
    after = builder.append_basic_block("sums")
    builder.branch(loop)
    builder.position_at_end(loop)
    moving = [builder.phi(_I64) for _ in range(3)]
    sums = [builder.phi(zero.type) for zero in zeros]
    for phi, start in zip([*moving, *sums], [row, query, _I64(0), *zeros], strict=True):
        phi.add_incoming(start, before)
    grown = step(builder, moving[0], moving[1], list(sums))
    done = builder.add(moving[2], _I64(1))
    ahead = [builder.add(moving[i], _I64(strides[i])) for i in range(2)]
    for phi, value in zip([*moving, *sums], [*ahead, done, *grown], strict=True):
        phi.add_incoming(value, builder.block)
    builder.cbranch(builder.icmp_signed("<", done, blocks), loop, after)
    builder.position_at_end(after)
    return grown


def _bytes_step(builder: ir.IRBuilder, codes: ir.Value, query: ir.Value, total: ir.Value) -> ir.Value:
    """`total` (16 x int32) + the products of 64 unsigned with 64 signed bytes."""
    if BYTES_STEP == "vnni512":
        wide = _vector(_I32, 16)
        call = _declared(builder, "llvm.x86.avx512.vpdpbusd.512", wide, wide, wide, wide)
        return builder.call(call, [total, builder.bitcast(codes, wide), builder.bitcast(query, wide)])
    nothing = ir.Constant(codes.type, ir.Undefined)
    for half in range(4):
        part = ir.Constant(_vector(_I32, 16), list(range(16 * half, 16 * half + 16)))
        left = builder.shuffle_vector(codes, nothing, part)
        right = builder.shuffle_vector(query, nothing, part)
        if BYTES_STEP == "pairs256":
            shorts, eight = _vector(_I16, 16), _vector(_I32, 8)
            call = _declared(builder, "llvm.x86.avx2.pmadd.wd", eight, shorts, shorts)
            pairs = builder.call(call, [builder.zext(left, shorts), builder.sext(right, shorts)])
            low = ir.Constant(_vector(_I32, 16), [*range(8), *range(8, 16)])
            product = builder.shuffle_vector(pairs, _constant(eight, 0), low)
        else:
            ints = _vector(_I32, 16)
            product = builder.mul(builder.zext(left, ints), builder.sext(right, ints))
        total = builder.add(total, product)
    return total


def _dot(kind: types.Type, zeros: list[ir.Constant], strides: tuple[int, int], step: Step) -> Any:
    """A compiled function (row, query, blocks) -> sum, blocks >= 1."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        sums = _over_blocks(builder, args, zeros, strides, step)
        join = builder.add if kind == types.int32 else builder.fadd
        while len(sums) > 1:
            half = len(sums) // 2
            sums = [join(sums[i], sums[half + i]) for i in range(half)]
        return _fold(builder, sums[0], join)

    return intrinsic(lambda _, row, query, blocks: (kind(types.int64, types.int64, types.int64), emit))


def _int8_step(builder: ir.IRBuilder, row: ir.Value, query: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
    wide = _vector(_I8, BLOCK)
    return [_bytes_step(builder, _load(builder, row, wide), _load(builder, query, wide), sums[0])]


def _pair_step(builder: ir.IRBuilder, row: ir.Value, other: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
    wide = _vector(_I8, BLOCK)
    signed = builder.xor(_load(builder, other, wide), _constant(wide, -128))
    return [_bytes_step(builder, _load(builder, row, wide), signed, sums[0])]


def _bits_step(builder: ir.IRBuilder, row: ir.Value, query: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
    ones = builder.bitcast(_load(builder, row, _I64), _vector(_I1, BLOCK))
    codes = builder.zext(ones, _vector(_I8, BLOCK))
    return [_bytes_step(builder, codes, _load(builder, query, _vector(_I8, BLOCK)), sums[0])]


Widen = Callable[[ir.IRBuilder, ir.Value], ir.Value]


def _floats_step(width: int, widen: Widen, others: int, widen_other: Widen) -> Step:
    """Four registers of sixteen elements, `width` bytes each, with as many of `others` bytes."""
    part = _vector(_F32, 16)

    def step(builder: ir.IRBuilder, row: ir.Value, query: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
        fma = _declared(builder, "llvm.fma.v16f32", part, part, part, part)
        grown = []
        for i, total in enumerate(sums):
            left = widen(builder, _at(builder, row, 16 * width * i))
            right = widen_other(builder, _at(builder, query, 16 * others * i))
            grown.append(builder.call(fma, [left, right, total]))
        return grown

    return step


def _from_f16(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return builder.fpext(_load(builder, address, _vector(_F16, 16)), _vector(_F32, 16))


def _from_bf16(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    wide = builder.zext(_load(builder, address, _vector(_I16, 16)), _vector(_I32, 16))
    return builder.bitcast(builder.shl(wide, _constant(_vector(_I32, 16), 16)), _vector(_F32, 16))


def _from_f32(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return _load(builder, address, _vector(_F32, 16))


def _four_sums(builder: ir.IRBuilder, sums: list[ir.Value]) -> ir.Value:
    """The sums of four vectors (16 x int32 each), side by side (4 x int32)."""

    def chosen(one: ir.Value, other: ir.Value, *places: int) -> ir.Value:
        return builder.shuffle_vector(one, other, ir.Constant(_vector(_I32, len(places)), list(places)))

    for half in (8, 4):
        sums = [
            builder.add(chosen(one, one, *range(half)), chosen(one, one, *range(half, 2 * half)))
            for one in sums
        ]
    pairs = [
        builder.add(chosen(one, other, 0, 4, 1, 5), chosen(one, other, 2, 6, 3, 7))
        for one, other in (sums[:2], sums[2:])
    ]
    return builder.add(chosen(*pairs, 0, 1, 4, 5), chosen(*pairs, 2, 3, 6, 7))


_INTS = [_constant(_vector(_I32, 16), 0)]
_FLOATS = [_constant(_vector(_F32, 16), 0.0)] * 4

dot_int8 = _dot(types.int32, _INTS, (64, 64), _int8_step)
"""Unsigned bytes with signed bytes: exact."""
pair_int8 = _dot(types.int32, _INTS, (64, 64), _pair_step)
"""Unsigned bytes with others, each less 128: exact."""
dot_bits = _dot(types.int32, _INTS, (8, 64), _bits_step)
"""The sum of those signed bytes whose bit is set: exact."""
dot_fp16 = _dot(types.float32, _FLOATS, (128, 256), _floats_step(2, _from_f16, 4, _from_f32))
"""float16 with float32."""
dot_bf16 = _dot(types.float32, _FLOATS, (128, 256), _floats_step(2, _from_bf16, 4, _from_f32))
"""bfloat16 with float32."""
dot_fp32 = _dot(types.float32, _FLOATS, (256, 256), _floats_step(4, _from_f32, 4, _from_f32))
"""float32 with float32."""
pair_fp16 = _dot(types.float32, _FLOATS, (128, 128), _floats_step(2, _from_f16, 2, _from_f16))
"""float16 with float16."""
pair_bf16 = _dot(types.float32, _FLOATS, (128, 128), _floats_step(2, _from_bf16, 2, _from_bf16))
"""bfloat16 with bfloat16."""


@intrinsic
def four_dots_int8(_: Any, rows: Any, query: Any, blocks: Any, out: Any) -> Any:
    """`dot_int8` of each of four rows, written side by side to `out`: for less than four, as the query is read once."""

    def emit(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        given, query, blocks, out = args
        rows = [builder.extract_value(given, i) for i in range(4)]
        wide = _vector(_I8, BLOCK)

        def step(
            builder: ir.IRBuilder, offset: ir.Value, query: ir.Value, sums: list[ir.Value]
        ) -> list[ir.Value]:
            asked = _load(builder, query, wide)
            return [
                _bytes_step(builder, _load(builder, builder.add(row, offset), wide), asked, total)
                for row, total in zip(rows, sums, strict=True)
            ]

        sums = _over_blocks(builder, (_I64(0), query, blocks), _INTS * 4, (BLOCK, BLOCK), step)
        found = _four_sums(builder, sums)
        builder.store(found, builder.inttoptr(out, found.type.as_pointer())).align = 1
        return context.get_dummy_value()

    return types.void(rows, types.int64, types.int64, types.int64), emit


def _read(kind: types.Type, element: ir.Type) -> Any:
    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return _load(builder, args[0], element)

    return intrinsic(lambda _, address: (kind(types.int64), emit))


def _write(kind: types.Type, element: ir.Type) -> Any:
    def emit(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        builder.store(args[1], builder.inttoptr(args[0], element.as_pointer())).align = 1
        return context.get_dummy_value()

    return intrinsic(lambda _, address, value: (types.void(types.int64, kind), emit))


read_i32, read_i64, read_u64, read_f32 = (
    _read(types.int32, _I32),
    _read(types.int64, _I64),
    _read(types.uint64, _I64),
    _read(types.float32, _F32),
)
write_i8, write_i32, write_i64, write_u64, write_f32 = (
    _write(types.int8, _I8),
    _write(types.int32, _I32),
    _write(types.int64, _I64),
    _write(types.uint64, _I64),
    _write(types.float32, _F32),
)


def _shared_read(kind: types.Type, element: ir.IntType) -> Any:
    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.load_atomic(
            builder.inttoptr(args[0], element.as_pointer()), "acquire", element.width // 8
        )

    return intrinsic(lambda _, address: (kind(types.int64), emit))


def _shared_write(kind: types.Type, element: ir.IntType) -> Any:
    def emit(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], element.as_pointer())
        builder.store_atomic(args[1], pointer, "release", element.width // 8)
        return context.get_dummy_value()

    return intrinsic(lambda _, address, value: (types.void(types.int64, kind), emit))


read_shared_i64 = _shared_read(types.int64, _I64)
"""What another thread may be writing; what it wrote before is seen, too. The address is aligned, as below."""
write_shared_i32, write_shared_i64 = _shared_write(types.int32, _I32), _shared_write(types.int64, _I64)
"""For other threads to read, after all that was written before."""


def _reinterpreted(given: types.Type, wanted: types.Type, element: ir.Type) -> Any:
    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], element)

    return intrinsic(lambda _, value: (wanted(given), emit))


bits_of = _reinterpreted(types.float32, types.int32, _I32)
"""The bits of a float32 as an int32."""
float_of = _reinterpreted(types.int32, types.float32, _F32)
"""The float32 with these bits."""


@intrinsic
def prefetch(_: Any, address: Any) -> Any:
    """Start to fetch the cache line at an address; wrong addresses do no harm."""

    def emit(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        pointer = _I8.as_pointer()
        call = _declared(builder, "llvm.prefetch.p0", ir.VoidType(), pointer, _I32, _I32, _I32)
        builder.call(call, [builder.inttoptr(args[0], pointer), _I32(0), _I32(3), _I32(1)])
        return context.get_dummy_value()

    return types.void(types.int64), emit


@intrinsic
def move(_: Any, to: Any, source: Any, size: Any) -> Any:
    """Move `size` bytes; the places may overlap."""

    def emit(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        pointer = _I8.as_pointer()
        call = _declared(builder, "llvm.memmove.p0.p0.i64", ir.VoidType(), pointer, pointer, _I64, _I1)
        ends = [builder.inttoptr(args[i], pointer) for i in range(2)]
        builder.call(call, [*ends, args[2], _I1(0)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), emit


@intrinsic
def lowest_bit(_: Any, word: Any) -> Any:
    """Index of the lowest bit set in a word that is not zero."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.cttz(args[0], _I1(1))

    return types.int64(types.uint64), emit


@intrinsic
def taken(_: Any, address: Any) -> Any:
    """Whether the int32 at an address was 0 and is now 1: a lock that was free, and is ours."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], _I32.as_pointer())
        swapped = builder.cmpxchg(pointer, _I32(0), _I32(1), "acq_rel", "monotonic")
        return builder.extract_value(swapped, 1)

    return types.boolean(types.int64), emit
