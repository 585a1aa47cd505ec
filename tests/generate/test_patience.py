"""Waiting that ends with the caller's deadline."""

from __future__ import annotations

import asyncio
from math import inf

import pytest

from paceline.base.clock import loop_clock
from paceline.base.errors import DeadlineExceeded
from paceline.generate.patience import patience


def test_what_takes_longer_than_the_deadline_is_given_up(run_virtual):
    async def main():
        with pytest.raises(DeadlineExceeded, match="allow more time"):
            async with patience(2.0, loop_clock()):
                await asyncio.sleep(10)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 2.0


@pytest.mark.parametrize("deadline_at", [inf, 20.0])
def test_what_comes_in_time_is_left_alone(run_virtual, deadline_at):
    async def main():
        async with patience(deadline_at, loop_clock()):
            await asyncio.sleep(10)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 10.0


def test_a_timeout_of_something_else_stays_what_it_is(run_virtual):
    async def main():
        async with patience(5.0, loop_clock()):
            raise TimeoutError("theirs")

    with pytest.raises(TimeoutError, match="theirs"):
        run_virtual(main())
