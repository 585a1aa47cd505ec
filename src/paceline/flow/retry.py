"""Retries with exponential back-off and full jitter (Brooker 2015, "Exponential backoff and jitter")."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import msgspec

from paceline.base.clock import Clock, monotonic
from paceline.base.errors import PacelineError, Rejected
from paceline.base.knob import knob

T = TypeVar("T")


class RetryPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often and how patiently a retryable failure is tried again."""

    attempts: Annotated[int, knob("Tries in all, the first included.", ge=1, le=100)] = 3
    first_wait_s: Annotated[float, knob("Back-off before the second try.", ge=0, le=3600, unit="s")] = 0.1
    multiplier: Annotated[float, knob("Each back-off is this times the last.", ge=1, le=100)] = 2.0
    max_wait_s: Annotated[
        float,
        knob(
            "No back-off is longer; a server that asks for more patience than this ends the tries.",
            ge=0,
            le=3600,
            unit="s",
        ),
    ] = 10.0


async def retry(  # noqa: PLR0913 - every source of chance and time is a parameter
    call: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    *,
    on: tuple[type[Exception], ...] = (),
    deadline_at: float = math.inf,
    clock: Clock = monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    rng: Callable[[], float] = random.random,
) -> T:
    """The result of `call`, tried again after a retryable PacelineError or an error of the kinds in `on`.

    Raises the last error when the tries are used up, when the next try could not start before `deadline_at` (an
    instant of `clock`), or when the server asked for a longer wait than `policy.max_wait_s`. `rng` is uniform on [0, 1).
    """
    for attempt in range(1, policy.attempts):
        try:
            return await call()
        except Exception as error:
            wait_s = next_wait_s(error, attempt, policy, on=on, left_s=deadline_at - clock(), rng=rng)
            if wait_s is None:
                raise
        await sleep(wait_s)
    return await call()


def retry_sync(  # noqa: PLR0913 - see retry
    call: Callable[[], T],
    policy: RetryPolicy,
    *,
    on: tuple[type[Exception], ...] = (),
    deadline_at: float = math.inf,
    clock: Clock = monotonic,
    sleep: Callable[[float], None] = time.sleep,
    rng: Callable[[], float] = random.random,
) -> T:
    """`retry` for code without an event loop."""
    for attempt in range(1, policy.attempts):
        try:
            return call()
        except Exception as error:
            wait_s = next_wait_s(error, attempt, policy, on=on, left_s=deadline_at - clock(), rng=rng)
            if wait_s is None:
                raise
        sleep(wait_s)
    return call()


def next_wait_s(  # noqa: PLR0913 - one decision, all it depends on
    error: Exception,
    attempt: int,
    policy: RetryPolicy,
    *,
    on: tuple[type[Exception], ...],
    left_s: float,
    rng: Callable[[], float],
) -> float | None:
    """Seconds to wait after try number `attempt` (from 1) failed with `error`, or None to give up.

    The jitter comes on top of the server's `retry_after_s`: callers refused together do not come back together.
    """
    if not isinstance(error, on) and not (isinstance(error, PacelineError) and error.retryable):
        return None
    asked_s = error.retry_after_s if isinstance(error, Rejected) else 0.0
    if asked_s > policy.max_wait_s:
        return None
    try:
        ceiling_s = min(policy.max_wait_s, policy.first_wait_s * policy.multiplier ** (attempt - 1))
    except OverflowError:  # 100 tries with a multiplier of 100 leave the floats
        ceiling_s = policy.max_wait_s
    wait_s = asked_s + rng() * ceiling_s
    return wait_s if wait_s < left_s else None
