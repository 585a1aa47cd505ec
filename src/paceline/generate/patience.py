"""A caller's patience: waiting that ends with its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import isfinite

from paceline.base.clock import Clock
from paceline.base.errors import DeadlineExceeded


@asynccontextmanager
async def patience(deadline_at: float, clock: Clock) -> AsyncIterator[None]:
    """Whatever is awaited inside ends at `deadline_at` (an instant of `clock`; may be infinite).

    Raises DeadlineExceeded then.
    """
    left_s = max(0.0, deadline_at - clock()) if isfinite(deadline_at) else None
    try:
        async with asyncio.timeout(left_s) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise  # what was awaited timed out by itself
        raise DeadlineExceeded(
            "the deadline passed before the answer was ready; ask for fewer tokens or allow more time"
        ) from None
