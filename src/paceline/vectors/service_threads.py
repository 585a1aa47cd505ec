"""Threads for what would stop the event loop: `ServiceThreads`.

Three pools, so that nothing waits for something slower of another kind: reads; writes, which wait for the disk, and for
room when they come too fast; and care, which takes minutes (tuning, compaction, copies).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Literal, TypeVar

from paceline.base.errors import DeadlineExceeded

T = TypeVar("T")
Kind = Literal["read", "write", "care"]

_CARES: Final = 2
_LONGEST_S: Final = 86_400.0
"""A deadline further away is none: timers do not reach for ever."""


class ServiceThreads:
    """`count` threads for reads and as many for writes: writers at the same time share one fsync."""

    def __init__(self, count: int) -> None:
        self._pools = {
            "read": ThreadPoolExecutor(count, thread_name_prefix="vectors-read"),
            "write": ThreadPoolExecutor(count, thread_name_prefix="vectors-write"),
            "care": ThreadPoolExecutor(_CARES, thread_name_prefix="vectors-care"),
        }

    async def run(self, kind: Kind, work: Callable[[], T], deadline_at: float) -> T:
        """The result of `work`. DeadlineExceeded once it is too late; what has begun by then goes on to its end."""
        left_s = checked_deadline(deadline_at)
        running = asyncio.get_running_loop().run_in_executor(self._pools[kind], work)
        try:
            async with asyncio.timeout(None if left_s > _LONGEST_S else left_s) as limit:
                return await running
        except TimeoutError:
            if not limit.expired():
                raise
            done = "what was asked may still be done" if kind != "read" else "ask again with more time"
            raise DeadlineExceeded(f"not done in the {left_s:.3g} s that were left; {done}") from None

    def end(self, *kinds: Kind) -> None:
        """Take no more work of these kinds, and wait for what runs; what has not begun is left."""
        for kind in kinds:
            self._pools[kind].shutdown(wait=True, cancel_futures=True)


def checked_deadline(deadline_at: float) -> float:
    """Seconds until then (`time.monotonic`). DeadlineExceeded if there are none."""
    left_s = deadline_at - time.monotonic()
    if left_s <= 0:
        raise DeadlineExceeded(f"the time was over {-left_s:.3g} s before this was begun; ask with more time")
    return left_s
