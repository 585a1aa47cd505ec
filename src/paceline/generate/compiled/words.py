"""Single numbers at addresses, atomic operations, and the three system calls that workers need, for compiled functions.

Addresses are plain integers in bytes, of 64-bit words where not said otherwise. Linux on x86-64 only.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from paceline.generate.compiled.lanes import F32, I8, I16, I32, I64, declared, instruction, pointer

_FUTEX_WAIT, _FUTEX_WAKE, _PRIVATE = 0, 1, 128
_SYS_FUTEX, _SYS_SCHED_YIELD = 202, 24
_ELEMENTS = {types.int8: I8, types.uint16: I16, types.int32: I32, types.int64: I64, types.float32: F32}


@instruction
def read(_: Any, kind: Any, address: Any) -> Any:
    """The number of the type of `kind` at an address."""

    def emit(_context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(pointer(builder, args[1], _ELEMENTS[sig.args[0]]))
        value.align = 1
        return value

    return kind(kind, types.int64), emit


@instruction
def index(_: Any, address: Any) -> Any:
    """The int32 at an address, as an integer of the compiler's own width."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.sext(builder.load(pointer(builder, args[0], I32)), I64)

    return types.int64(types.int64), emit


@instruction
def write(_: Any, kind: Any, address: Any, value: Any) -> Any:
    """Store a number as the type of `kind`."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], pointer(builder, args[1], _ELEMENTS[sig.args[0]])).align = 1
        return context.get_dummy_value()

    return types.void(kind, types.int64, kind), emit


@instruction
def same_type(_: Any, one: Any, other: Any) -> Any:
    """Whether two numbers have one type; known when the code is compiled."""

    def emit(_context: Any, _builder: Any, sig: Any, _args: Any) -> Any:
        return ir.Constant(ir.IntType(1), int(sig.args[0] == sig.args[1]))

    return types.boolean(one, other), emit


@instruction
def acquire(_: Any, address: Any) -> Any:
    """Read a word; what its writer wrote before is seen from here on."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.load_atomic(pointer(builder, args[0], I64), "seq_cst", 8, typ=I64)

    return types.int64(types.int64), emit


@instruction
def release(_: Any, address: Any, value: Any) -> Any:
    """Write a word after all that was written before."""

    def emit(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        builder.store_atomic(args[1], pointer(builder, args[0], I64), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), emit


@instruction
def add_to(_: Any, address: Any, amount: Any) -> Any:
    """Add to a word; returns what it was before."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", pointer(builder, args[0], I64), args[1], "seq_cst")

    return types.int64(types.int64, types.int64), emit


@instruction
def replace(_: Any, address: Any, old: Any, new: Any) -> Any:
    """Write `new` if the word is `old`; whether it was."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        both = builder.cmpxchg(pointer(builder, args[0], I64), args[1], args[2], "seq_cst", "monotonic")
        return builder.extract_value(both, 1)

    return types.boolean(types.int64, types.int64, types.int64), emit


@instruction
def pause(_: Any) -> Any:
    """Tell the core that this is a waiting loop."""

    def emit(context: Any, builder: Any, _sig: Any, _args: Any) -> Any:
        builder.call(declared(builder, "llvm.x86.sse2.pause", ir.VoidType()), [])
        return context.get_dummy_value()

    return types.void(), emit


def _system_call(builder: ir.IRBuilder, number: int, *args: ir.Value) -> ir.Value:
    call = declared(builder, "syscall", I64, *[I64] * 7)
    given = [I64(number), *args]
    return builder.call(call, given + [I64(0)] * (7 - len(given)))


@instruction
def sleep_while(_: Any, address: Any, value: Any) -> Any:
    """Sleep until woken, unless the lower half of the word differs from that of `value`; may return early."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return _system_call(builder, _SYS_FUTEX, args[0], I64(_FUTEX_WAIT | _PRIVATE), args[1])

    return types.int64(types.int64, types.int64), emit


@instruction
def wake_all(_: Any, address: Any) -> Any:
    """Wake all that sleep on the word."""

    def emit(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return _system_call(builder, _SYS_FUTEX, args[0], I64(_FUTEX_WAKE | _PRIVATE), I64(2**31 - 1))

    return types.int64(types.int64), emit


@instruction
def give_way(_: Any) -> Any:
    """Let another thread have this core."""

    def emit(_context: Any, builder: Any, _sig: Any, _args: Any) -> Any:
        return _system_call(builder, _SYS_SCHED_YIELD)

    return types.int64(), emit
