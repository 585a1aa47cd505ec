"""Virtual time: an event loop whose clock jumps to the next timer when nothing is ready."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from services import free_url, nginx, redis_process, redis_server  # noqa: F401 - fixtures
from vectors_served import vectors_server  # noqa: F401 - a fixture


class JumpingSelector(selectors.DefaultSelector):
    """Instead of sleeping, moves `now`. Real events (a thread that calls back) still come first."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            # No timer: only another thread can wake us, and it has real seconds to do so.
            ready = super().select(30.0)
            if not ready:
                raise RuntimeError("deadlock: nothing is ready and nothing is scheduled")
            return ready
        ready = super().select(0)
        if not ready:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 and costs nothing."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


@pytest.fixture
def virtual_loop() -> Iterator[VirtualLoop]:
    """A loop on virtual time; what a test leaves running on it is cancelled."""
    loop = VirtualLoop()
    yield loop
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture
def run_virtual(virtual_loop: VirtualLoop) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine on virtual time and return its result."""
    return virtual_loop.run_until_complete


@pytest.fixture
def anyio_backend() -> str:
    """For `pytest.mark.anyio`: tests with real sockets run on a real asyncio loop."""
    return "asyncio"
