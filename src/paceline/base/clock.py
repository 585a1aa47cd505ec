"""Time as a parameter: a clock is a function without arguments that returns seconds and never goes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

Clock = Callable[[], float]
"""`time.monotonic` in production; the virtual loop's or the simulator's clock in tests and tuning."""

monotonic: Clock = time.monotonic


def loop_clock() -> Clock:
    """The running loop's clock: `time.monotonic` where the loop runs on it, its own where time is virtual.

    uvloop's own `time()` is cached per turn and counts whole milliseconds, too coarse to measure a run.
    """
    loop = asyncio.get_running_loop()
    return monotonic if abs(loop.time() - monotonic()) < 1.0 else loop.time
