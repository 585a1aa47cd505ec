"""Sixteen float32 numbers in one register, for compiled functions: `lanes.load(address)`, `+`, `*`, `lanes.fma`, ...

Addresses are plain integers in bytes. Nothing here checks them. What a function does to a lane does not depend on the
other lanes, except in `total` and `largest`, which fold in a fixed order.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

I8, I16, I32, I64, F32 = (
    ir.IntType(8),
    ir.IntType(16),
    ir.IntType(32),
    ir.IntType(64),
    ir.FloatType(),
)
LANES = 16
F32X16, I32X16, I16X16, I8X16 = (ir.VectorType(of, LANES) for of in (F32, I32, I16, I8))


class LanesType(types.Type):
    """The compiler's name for sixteen float32 numbers."""

    def __init__(self) -> None:
        super().__init__(name="float32x16")


Lanes = Any
"""Sixteen float32 numbers; only compiled functions can hold them."""
LANES_TYPE = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, of: Any) -> None:
        super().__init__(manager, of, F32X16)


def instruction(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that tells the types of an operation and how it is emitted becomes the operation."""
    return cast("Callable[..., Any]", intrinsic(function))


def pointer(builder: ir.IRBuilder, address: ir.Value, to: ir.Type) -> ir.Value:
    """`address` (i64) as a pointer."""
    return builder.inttoptr(address, to.as_pointer())


def splat_constant(value: float, kind: ir.VectorType = F32X16) -> ir.Constant:
    """The same constant in every lane."""
    return ir.Constant(kind, [ir.Constant(kind.element, value)] * kind.count)


def splat_value(builder: ir.IRBuilder, value: ir.Value, kind: ir.VectorType) -> ir.Value:
    """A scalar in every lane."""
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, value, I32(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(I32, kind.count), None))


def declared(builder: ir.IRBuilder, name: str, returns: ir.Type, *takes: ir.Type) -> ir.Function:
    """An LLVM intrinsic or a C function of this name, declared once in the module."""
    module = builder.module
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(returns, takes), name)


def read_lanes(builder: ir.IRBuilder, kind: types.Type, address: ir.Value) -> ir.Value:
    """Sixteen numbers of the element `kind`, as float32: int8, uint16 (a bfloat16's bits), int32 or float32."""
    element = {types.int8: I8X16, types.uint16: I16X16, types.int32: I32X16, types.float32: F32X16}[kind]
    value = builder.load(pointer(builder, address, element))
    value.align = 1
    if kind == types.float32:
        return value
    if kind == types.uint16:
        wide = builder.shl(builder.zext(value, I32X16), splat_constant(16, I32X16))
        return builder.bitcast(wide, F32X16)
    if kind == types.int8:
        value = builder.sext(value, I32X16)
    return builder.sitofp(value, F32X16)


def _write_lanes(builder: ir.IRBuilder, kind: types.Type, address: ir.Value, value: ir.Value) -> None:
    if kind == types.uint16:  # to nearest, ties to even; the bits above 16 carry into what is kept
        bits = builder.bitcast(value, I32X16)
        odd = builder.and_(builder.lshr(bits, splat_constant(16, I32X16)), splat_constant(1, I32X16))
        bits = builder.add(bits, builder.add(odd, splat_constant(0x7FFF, I32X16)))
        value = builder.trunc(builder.lshr(bits, splat_constant(16, I32X16)), I16X16)
    elif kind == types.int8:
        value = builder.trunc(builder.fptosi(value, I32X16), I8X16)
    elif kind != types.float32:
        raise TypeError(f"lanes are not stored as {kind}")
    builder.store(value, pointer(builder, address, value.type)).align = 1


@instruction
def load_as(_: Any, kind: Any, address: Any) -> Any:
    """Sixteen numbers of the type of `kind` (int8, uint16 for bfloat16, int32, float32) at an address."""

    def emit(_context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return read_lanes(builder, sig.args[0], args[1])

    return LANES_TYPE(kind, types.int64), emit


@instruction
def store_as(_: Any, kind: Any, address: Any, value: Any) -> Any:
    """Store as the type of `kind`: float32, uint16 (bfloat16, to nearest even) or int8 (whole numbers given)."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _write_lanes(builder, sig.args[0], args[1], args[2])
        return context.get_dummy_value()

    return types.void(kind, types.int64, LANES_TYPE), emit


@instruction
def load(_: Any, address: Any) -> Any:
    """Sixteen float32 at an address."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return read_lanes(builder, types.float32, args[0])

    return LANES_TYPE(types.int64), emit


@instruction
def store(_: Any, address: Any, value: Any) -> Any:
    """Store sixteen float32."""

    def emit(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        _write_lanes(builder, types.float32, args[0], args[1])
        return context.get_dummy_value()

    return types.void(types.int64, LANES_TYPE), emit


@instruction
def splat(_: Any, value: Any) -> Any:
    """The same float32 in every lane."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return splat_value(builder, args[0], F32X16)

    return LANES_TYPE(types.float32), emit


def _lanewise(name: str, count: int) -> Any:
    """A compiled function of `count` lanes values that is the LLVM intrinsic `name`."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.call(declared(builder, name, F32X16, *[F32X16] * count), args)

    if count == 1:
        return instruction(lambda _, a: (LANES_TYPE(LANES_TYPE), emit))
    if count == 2:
        return instruction(lambda _, a, b: (LANES_TYPE(LANES_TYPE, LANES_TYPE), emit))
    return instruction(lambda _, a, b, c: (LANES_TYPE(LANES_TYPE, LANES_TYPE, LANES_TYPE), emit))


fma: Callable[[Lanes, Lanes, Lanes], Lanes] = _lanewise("llvm.fma.v16f32", 3)
"""a * b + c, rounded once."""
larger: Callable[[Lanes, Lanes], Lanes] = _lanewise("llvm.maxnum.v16f32", 2)
smaller: Callable[[Lanes, Lanes], Lanes] = _lanewise("llvm.minnum.v16f32", 2)
magnitude: Callable[[Lanes], Lanes] = _lanewise("llvm.fabs.v16f32", 1)
nearest: Callable[[Lanes], Lanes] = _lanewise("llvm.roundeven.v16f32", 1)


def _fold(builder: ir.IRBuilder, value: ir.Value, join: Callable[[ir.Value, ir.Value], ir.Value]) -> ir.Value:
    """Join the upper half with the lower until one is left: the same order always."""
    width = LANES
    while width > 1:
        width //= 2
        nothing = ir.Constant(value.type, ir.Undefined)
        low = ir.Constant(ir.VectorType(I32, width), list(range(width)))
        high = ir.Constant(ir.VectorType(I32, width), list(range(width, 2 * width)))
        value = join(
            builder.shuffle_vector(value, nothing, low),
            builder.shuffle_vector(value, nothing, high),
        )
    return builder.extract_element(value, I32(0))


@instruction
def total(_: Any, value: Any) -> Any:
    """The sum of the lanes."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return _fold(builder, args[0], builder.fadd)

    return types.float32(LANES_TYPE), emit


@instruction
def largest(_: Any, value: Any) -> Any:
    """The largest lane."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        def join(a: ir.Value, b: ir.Value) -> ir.Value:
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        return _fold(builder, args[0], join)

    return types.float32(LANES_TYPE), emit


@instruction
def between(_: Any, value: Any, first: Any, last: Any, start: Any, otherwise: Any) -> Any:
    """Lane i of `value` where `first <= start + i <= last` (integers), `otherwise` elsewhere."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        value, first, last, start, otherwise = args
        numbers = ir.Constant(I32X16, list(range(LANES)))

        def limit(at: ir.Value) -> ir.Value:
            return splat_value(builder, builder.trunc(builder.sub(at, start), I32), I32X16)

        inside = builder.and_(
            builder.icmp_signed("<=", limit(first), numbers),
            builder.icmp_signed("<=", numbers, limit(last)),
        )
        return builder.select(inside, value, splat_value(builder, otherwise, F32X16))

    given = (LANES_TYPE, types.int64, types.int64, types.int64, types.float32)
    return LANES_TYPE(*given), emit


@instruction
def power_of_two(_: Any, exponent: Any) -> Any:
    """2 ** exponent for whole exponents from -126 to 127."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        whole = builder.add(builder.fptosi(args[0], I32X16), splat_constant(127, I32X16))
        return builder.bitcast(builder.shl(whole, splat_constant(23, I32X16)), F32X16)

    return LANES_TYPE(LANES_TYPE), emit


def _operator(sign: Any, method: str) -> None:
    infer_global(sign)(
        type("_Lanes", (ConcreteTemplate,), {"cases": [signature(*[LANES_TYPE] * 3)]}),
    )

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return getattr(builder, method)(*args)

    lower_builtin(sign, LANES_TYPE, LANES_TYPE)(emit)


for _sign, _method in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operator(_sign, _method)


@instruction
def load_half(_: Any, address: Any) -> Any:
    """Sixteen float16 numbers at an address."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        value = builder.load(pointer(builder, args[0], ir.VectorType(ir.HalfType(), LANES)))
        value.align = 1
        return builder.fpext(value, F32X16)

    return LANES_TYPE(types.int64), emit
