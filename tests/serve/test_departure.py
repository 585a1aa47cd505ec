"""Calls whose caller hangs up."""

from __future__ import annotations

import asyncio

import pytest

from paceline.serve.decode import CallerLeft
from paceline.serve.departure import unless_left


class Line:
    """A connection that ends when told."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def receive(self):
        await self.over.wait()
        return {"type": "http.disconnect"}


def test_the_result_of_a_caller_that_stays(run_virtual):
    async def scenario():
        return await unless_left(Line().receive, asyncio.sleep(5, "done"))

    assert run_virtual(scenario()) == "done"


def test_a_departure_cancels_the_work_at_once(run_virtual):
    async def scenario():
        loop, line = asyncio.get_running_loop(), Line()
        loop.call_later(2, line.over.set)
        with pytest.raises(CallerLeft):
            await unless_left(line.receive, asyncio.sleep(1000))
        return loop.time(), asyncio.current_task().cancelling()

    assert run_virtual(scenario()) == (2.0, 0)


def test_an_error_of_the_work_is_raised_as_it_is(run_virtual):
    async def fail():
        await asyncio.sleep(1)
        raise KeyError("x")

    async def scenario():
        with pytest.raises(KeyError):
            await unless_left(Line().receive, fail())

    run_virtual(scenario())


def test_a_server_that_stops_is_not_taken_for_a_departure(run_virtual):
    async def scenario():
        task = asyncio.ensure_future(unless_left(Line().receive, asyncio.sleep(1000)))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(scenario())


def test_nobody_watches_the_line_afterwards(run_virtual):
    async def scenario():
        await unless_left(Line().receive, asyncio.sleep(1))
        await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert run_virtual(scenario()) == 1
