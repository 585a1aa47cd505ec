"""Calls to another store: bounded by the caller's deadline, tried again after a passing failure, counted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

from paceline.base.clock import Clock, monotonic
from paceline.base.errors import DeadlineExceeded, PacelineError, StorageError, Unreachable
from paceline.flow.retry import RetryPolicy, retry

T = TypeVar("T")

_FAULTS: Final = (StorageError, Unreachable)
"""Errors of the store; the others are its callers'."""


class StoreCalls:
    """The way to one store. Belongs to one event loop."""

    def __init__(self, name: str, policy: RetryPolicy, clock: Clock = monotonic) -> None:
        self.name = name
        self._policy = policy
        self._clock = clock
        self._trouble: str | None = "no call yet"
        self._has_answered = False
        self._calls = self._tries = self._faults = 0
        self._seconds = 0.0

    async def call(self, once: Callable[[float], Awaitable[T]], deadline_at: float) -> T:
        """The result of `once`, which is told how many seconds are left; what it does may be done twice.

        DeadlineExceeded when they are over, else its own errors: a retryable one after the last try.
        """
        self._calls += 1
        began_at = self._clock()
        try:
            result = await retry(
                lambda: self._try(once, deadline_at), self._policy, deadline_at=deadline_at, clock=self._clock
            )
        except PacelineError as error:
            if isinstance(error, _FAULTS):
                self._faults += 1
                self._trouble = error.message
            raise
        finally:
            self._seconds += self._clock() - began_at
        self._has_answered, self._trouble = True, None
        return result

    async def _try(self, once: Callable[[float], Awaitable[T]], deadline_at: float) -> T:
        left_s = deadline_at - self._clock()
        if left_s <= 0:
            raise DeadlineExceeded(f"the time was over before {self.name} was asked; allow more")
        self._tries += 1
        try:
            async with asyncio.timeout(left_s):
                return await once(left_s)
        except TimeoutError as error:
            raise DeadlineExceeded(f"{self.name} did not answer in {left_s:.3g} s; allow more") from error

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """Counters since the start."""
        return {
            "store": {
                "calls": self._calls,
                "retries": self._tries - self._calls,
                "faults": self._faults,
                "seconds": self._seconds,
            }
        }

    def health(self) -> Mapping[str, object]:
        """How the last call went."""
        if self._trouble is None:
            return {"status": "ok", "store": self.name}
        status = "failing" if self._faults else "starting"
        return {"status": status, "store": self.name, "reason": self._trouble}
