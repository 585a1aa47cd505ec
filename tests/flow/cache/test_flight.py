"""One run per key."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from paceline.base.errors import EngineError
from paceline.flow.cache.flight import SingleFlight

RunVirtual = Callable[[Any], Any]


class Work:
    """Counts its runs; takes a second of virtual time."""

    def __init__(self) -> None:
        self.begun = self.finished = self.cancelled = 0
        self.error: BaseException | None = None

    async def __call__(self) -> int:
        self.begun += 1
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        self.finished += 1
        return self.finished


def test_a_thousand_callers_share_one_run(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        work, flights = Work(), SingleFlight[int]()
        results = await asyncio.gather(*(flights.run(b"k", work) for _ in range(1000)))

        assert work.begun == 1
        assert [value for value, _ in results] == [1] * 1000
        assert sum(not shared for _, shared in results) == 1
        assert (flights.flights_total, flights.shared_total, len(flights)) == (1, 999, 0)

    run_virtual(scenario())


def test_other_keys_and_later_calls_run_for_themselves(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        work, flights = Work(), SingleFlight[int]()
        await asyncio.gather(flights.run(b"a", work), flights.run(b"b", work))
        await flights.run(b"a", work)

        assert work.begun == 3

    run_virtual(scenario())


def test_a_caller_that_leaves_does_not_disturb_the_others(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        work, flights = Work(), SingleFlight[int]()
        first, second = (asyncio.create_task(flights.run(b"k", work)) for _ in range(2))
        await asyncio.sleep(0.5)
        first.cancel()

        assert await second == (1, True)
        assert first.cancelled()
        assert work.cancelled == 0

    run_virtual(scenario())


def test_the_run_is_cancelled_when_the_last_caller_leaves(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        work, flights = Work(), SingleFlight[int]()
        callers = [asyncio.create_task(flights.run(b"k", work)) for _ in range(3)]
        await asyncio.sleep(0.5)
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        assert b"k" not in flights
        later = await flights.run(b"k", work)

        assert (work.begun, work.cancelled, work.finished) == (2, 1, 1)
        assert later == (1, False)

    run_virtual(scenario())


def test_an_error_reaches_every_caller_and_is_not_kept(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        work, flights = Work(), SingleFlight[int]()
        work.error = ValueError("no")
        results = await asyncio.gather(*(flights.run(b"k", work) for _ in range(3)), return_exceptions=True)
        assert [repr(error) for error in results] == ["ValueError('no')"] * 3
        work.error = None

        assert await flights.run(b"k", work) == (1, False)

    run_virtual(scenario())


def test_a_run_that_is_cancelled_from_elsewhere_is_an_error_not_a_departure(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        work, flights = Work(), SingleFlight[int]()
        caller = asyncio.create_task(flights.run(b"k", work))
        await asyncio.sleep(0.5)
        await flights.close()
        with pytest.raises(EngineError, match="send the request again"):
            await caller

        assert len(flights) == 0

    run_virtual(scenario())


def test_a_launched_run_outlives_its_callers(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        work, flights = Work(), SingleFlight[int]()
        task = flights.launch(b"k", work)
        assert flights.launch(b"k", work) is None
        caller = asyncio.create_task(flights.run(b"k", work))
        await asyncio.sleep(0.5)
        caller.cancel()

        assert task is not None
        assert await task == 1
        assert work.begun == 1

    run_virtual(scenario())
