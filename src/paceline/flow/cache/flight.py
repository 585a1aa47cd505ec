"""One run per key: callers that want the same thing at the same time share one run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from paceline.base.errors import EngineError

T = TypeVar("T")


class _Flight(Generic[T]):
    __slots__ = ("task", "waiters")

    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.waiters = 0


class SingleFlight(Generic[T]):
    """A caller that leaves does not disturb the others; when the last leaves, the run is cancelled.

    An exception reaches every waiter and is not kept: the next call runs again.
    """

    def __init__(self) -> None:
        self._flights: dict[bytes, _Flight[T]] = {}
        self.flights_total = 0
        self.shared_total = 0

    def __contains__(self, key: bytes) -> bool:
        return key in self._flights

    def __len__(self) -> int:
        return len(self._flights)

    async def run(self, key: bytes, make: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """The result of `make`, and whether the run was another caller's.

        Raises what `make` raises, and EngineError when the run was cancelled but this caller was not.
        """
        flight = self._flights.get(key)
        shared = flight is not None
        if flight is None:
            flight = self._start(key, make)
        else:
            self.shared_total += 1
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task), shared
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if flight.task.cancelled() and task is not None and not task.cancelling():
                raise EngineError(
                    "the run this request shared was cancelled; send the request again"
                ) from None
            raise
        finally:
            flight.waiters -= 1
            if flight.waiters == 0 and not flight.task.done():
                # Callers that come from now on get a run of their own, not the dying one.
                self._forget(key, flight)
                flight.task.cancel()

    def launch(self, key: bytes, make: Callable[[], Awaitable[T]]) -> asyncio.Task[T] | None:
        """Start a run nobody waits for, so that nobody's leaving ends it; None when the key is in flight."""
        if key in self._flights:
            return None
        flight = self._start(key, make)
        flight.waiters = 1
        return flight.task

    async def close(self) -> None:
        """Cancel every run and wait until they have ended."""
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, key: bytes, make: Callable[[], Awaitable[T]]) -> _Flight[T]:
        async def fly() -> T:
            return await make()

        flight = _Flight(asyncio.get_running_loop().create_task(fly()))
        self._flights[key] = flight
        self.flights_total += 1
        # First of the task's callbacks, so the key is free again when the waiters wake.
        flight.task.add_done_callback(lambda _: self._forget(key, flight))
        return flight

    def _forget(self, key: bytes, flight: _Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
