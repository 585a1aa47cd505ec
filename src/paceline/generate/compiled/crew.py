"""How several threads share the phases of a step: who takes which items, and how they wait for each other.

A phase is a number of items that may run at once; the next phase begins when all are done. One word, the ticket, holds
the number of the phase and the next free item:

    ticket = phase << 24 | item

A thread takes items by replacing the ticket, and only while it shows the phase that the thread is in. So a thread that
the system put aside delays nobody unless it holds items, and one that comes back late, even when its step is long
over, finds another phase in the ticket, takes nothing and catches up.

Idle threads look at the step word for a short while, then sleep until the next step begins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from paceline.base.errors import EngineError
from paceline.generate.compiled.words import (
    acquire,
    add_to,
    give_way,
    pause,
    release,
    replace,
    sleep_while,
    wake_all,
)

# Words of the control block, each on its own two lines of the cache (which are fetched in pairs).
TICKET, DONE, STEP, SLEEPERS, STOP = (128 * number for number in range(5))
CONTROL_BYTES = 128 * 5

_ITEM_BITS = 24
_ITEM_MASK = (1 << _ITEM_BITS) - 1
_PHASE_MASK = (1 << 38) - 1
_SPINS_BEFORE_WAY = 2_000
"""Some 30 us in a phase: it is late only when its thread is not running, and then ours may be in its way."""
_SPINS_BEFORE_SLEEP = 4_000

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False, "boundscheck": False}
"""Other threads run meanwhile; arrays are not counted, since nothing is allocated inside."""
F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile `function` into a part of those that call it."""
    return cast("F", numba.njit(**OPTIONS)(function))


def inlined(function: F) -> F:
    """Compile `function` into the very place where it is called."""
    return cast("F", numba.njit(forceinline=True, **OPTIONS)(function))


def control_block() -> np.ndarray:
    """Words of a crew that has done nothing yet, on a line of its own."""
    room = np.zeros(CONTROL_BYTES + 128, np.uint8)
    start = -room.ctypes.data % 128
    return room[start : start + CONTROL_BYTES]


@compiled
def take(control: int, phase: int, total: int, parts: int) -> tuple[int, int]:
    """The next items (first, count) of `total` for this thread; count 0 when none is left. Few at a time near the end."""
    while True:
        ticket = acquire(control + TICKET)
        first = ticket & _ITEM_MASK
        left = total - first
        if ticket >> _ITEM_BITS != phase or left <= 0:
            return 0, 0
        count = max(1, min(16, left // parts))
        if replace(control + TICKET, ticket, ticket + count):
            return first, count


@compiled
def finish(control: int, phase: int, total: int, count: int) -> None:
    """Say that `count` items are done; the last one opens the next phase."""
    if add_to(control + DONE, count) + count == total:
        release(control + DONE, 0)
        release(control + TICKET, following(phase) << _ITEM_BITS)


@inlined
def following(phase: int) -> int:
    """The number of the next phase."""
    return (phase + 1) & _PHASE_MASK


@compiled
def wait_phase(control: int, phase: int) -> None:
    """Return when the phase is over."""
    spins = 0
    while acquire(control + TICKET) >> _ITEM_BITS == phase:
        spins += 1
        if spins < _SPINS_BEFORE_WAY:
            pause()
        else:
            give_way()


@compiled
def current_phase(control: int) -> int:
    """The phase that is open."""
    return acquire(control + TICKET) >> _ITEM_BITS


@compiled
def skip_to(control: int, phase: int) -> None:
    """Close what is left of a step: its next one begins at `phase`. For the thread that began it, all items done."""
    release(control + TICKET, phase << _ITEM_BITS)


@compiled
def begin_step(control: int) -> None:
    """Tell the others that there is a step; wake those that sleep."""
    add_to(control + STEP, 1)
    if acquire(control + SLEEPERS) > 0:
        wake_all(control + STEP)


@compiled
def wait_step(control: int, seen: int) -> int:
    """Return when there is another step than `seen`; its number."""
    for _ in range(_SPINS_BEFORE_SLEEP):
        step = acquire(control + STEP)
        if step != seen:
            return step
        pause()
    add_to(control + SLEEPERS, 1)
    while acquire(control + STEP) == seen:
        sleep_while(control + STEP, seen)
    add_to(control + SLEEPERS, -1)
    return acquire(control + STEP)


@compiled
def stop_all(control: int) -> None:
    """End the loops of the others."""
    release(control + STOP, 1)
    begin_step(control)


class Crew:
    """The calling thread and `threads - 1` others that wait for it in compiled code, without Python's lock."""

    def __init__(self, work: Callable[..., int], arguments: tuple[Any, ...], threads: int) -> None:
        """`work(control, *arguments, thread)` is `step.work`, compiled here if it was not yet."""
        self.threads = threads
        self._control = control_block()
        self._address = np.int64(self._control.ctypes.data)
        self._work = work
        self._arguments = arguments
        self._closed = False
        signature = tuple(numba.typeof(value) for value in (self._address, *arguments, np.int64(0)))
        work.compile(signature)  # type: ignore[attr-defined]
        # Daemons: a process that ends without `close` must not wait for them.
        self._others = [
            threading.Thread(
                target=work,
                args=(self._address, *arguments, np.int64(number)),
                name=f"generate-{number}",
                daemon=True,
            )
            for number in range(1, threads)
        ]
        for other in self._others:
            other.start()

    def run(self) -> int:
        """One step, for one caller at a time, from any thread; what `step.work` returns."""
        if self._closed:
            raise EngineError("the runner is closed; open another")
        return self._work(self._address, *self._arguments, np.int64(0))

    def close(self) -> None:
        """End the other threads."""
        if not self._closed:
            self._closed = True
            stop_all(int(self._address))
            for other in self._others:
                other.join()
