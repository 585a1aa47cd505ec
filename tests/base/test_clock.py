import asyncio

from paceline.base.clock import loop_clock, monotonic


def test_a_loop_on_real_time_has_the_monotonic_clock():
    async def scenario():
        return loop_clock()

    assert asyncio.run(scenario()) is monotonic


def test_a_virtual_loop_has_its_own(run_virtual):
    async def scenario():
        await asyncio.sleep(1000.0)
        return loop_clock()()

    assert run_virtual(scenario()) == 1000.0
