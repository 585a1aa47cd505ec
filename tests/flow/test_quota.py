"""Both ledgers keep one promise: the leases of a window never add up to more than its limit."""

import asyncio
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.flow.quota import Grant, LocalLedger, RedisLedger, lease_size
from paceline.flow.redis_link import RedisLink, RedisPolicy

HOUR_S = 3600


class Clock:
    now = 1_000_000_040.0  # 20 s into a minute

    def __call__(self):
        return self.now


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 10**6), st.floats(0.001, 1.0))
def test_a_lease_fits_what_is_left_and_is_at_most_the_share_of_it(limit, used, want, share):
    size = lease_size(limit, used, want, share)

    assert 0 <= size <= want
    assert size <= max(0, limit - used)
    assert size <= max(1, (limit - used) * share)
    assert (size == 0) == (used >= limit)


def test_a_grant_is_small_on_the_wire():
    import msgspec

    grant = Grant(3, 4, 5, 6.0)

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(grant), type=Grant) == grant
    assert len(msgspec.msgpack.encode(grant)) == 13


def test_local_windows_begin_at_the_full_minute_of_the_clock():
    clock = Clock()
    ledger = LocalLedger(share=1.0, clock=clock)

    async def use():
        first = await ledger.lease("a", 10, 7, 60)
        clock.now += 39.0
        second = await ledger.lease("a", 10, 7, 60)
        clock.now += 1.0
        return first, second, await ledger.lease("a", 10, 7, 60)

    assert asyncio.run(use()) == (
        Grant(7, 3, 16_666_667, 40.0),
        Grant(3, 0, 16_666_667, 1.0),
        Grant(7, 3, 16_666_668, 60.0),
    )


def test_a_clock_that_is_set_back_does_not_open_a_window_again():
    clock = Clock()
    ledger = LocalLedger(share=1.0, clock=clock)

    async def use():
        await ledger.lease("a", 10, 10, 60)
        clock.now -= 60
        return await ledger.lease("a", 10, 10, 60)

    assert asyncio.run(use()).granted == 0


def test_a_local_ledger_does_not_grow_with_the_number_of_callers():
    ledger = LocalLedger(share=1.0, clock=Clock(), max_keys=100)

    async def use():
        for caller in range(1000):
            await ledger.lease(f"caller {caller}", 10, 1, 60)

    asyncio.run(use())

    assert len(ledger) <= 100


class Local:
    """A local ledger and the moment its tests take place."""

    def run(self, use):
        return asyncio.run(use(LocalLedger(share=0.5, clock=Clock())))


class Shared:
    """A ledger in a real Redis."""

    def __init__(self, server):
        self.server = server

    def run(self, use):
        self.server.command("FLUSHALL")

        async def main():
            link = RedisLink(RedisPolicy(url=self.server.url, timeout_ms=20_000.0))
            ledger = RedisLedger(link, share=0.5, clock=time.monotonic)
            try:
                return await use(ledger)
            finally:
                if ledger._meeting is not None:
                    await ledger._meeting
                await link.close()

        return asyncio.run(main())


@pytest.fixture(scope="module", params=["local", pytest.param("redis", marks=pytest.mark.redis)])
def where(request):
    return Local() if request.param == "local" else Shared(request.getfixturevalue("redis_process"))


def test_leases_shrink_with_what_is_left_and_use_all_of_it(where):
    async def use(ledger):
        return [(await ledger.lease("a", 20, 8, HOUR_S)).granted for _ in range(9)]

    assert where.run(use) == [8, 6, 3, 1, 1, 1, 0, 0, 0]


def test_what_is_given_back_can_be_leased_again(where):
    async def use(ledger):
        first = await ledger.lease("a", 20, 10, HOUR_S)
        await ledger.give_back("a", first.window, 9, HOUR_S)
        await ledger.give_back("a", first.window - 1, 9, HOUR_S)  # that window is over
        return (await ledger.lease("a", 20, 1, HOUR_S)).left

    assert where.run(use) == 18


def test_more_than_was_leased_cannot_be_given_back(where):
    async def use(ledger):
        first = await ledger.lease("a", 20, 2, HOUR_S)
        await ledger.give_back("a", first.window, 1000, HOUR_S)
        return (await ledger.lease("a", 20, 1, HOUR_S)).left

    assert where.run(use) == 19


def test_what_passed_without_a_lease_is_booked_even_over_the_limit(where):
    async def use(ledger):
        first = await ledger.lease("a", 20, 1, HOUR_S)
        await ledger.give_back("a", first.window, -30, HOUR_S)
        return await ledger.lease("a", 20, 1, HOUR_S)

    grant = where.run(use)

    assert (grant.granted, grant.left) == (0, 0)


def test_callers_and_windows_are_counted_apart(where):
    async def use(ledger):
        return [
            (await ledger.lease(key, 20, 10, window_s)).left
            for key, window_s in (("a 60", 60), ("a 3600", HOUR_S), ("b 60", 60), ("b 60", 60))
        ][:3]

    assert where.run(use) == [10, 10, 10]


asks = st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=60)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 100), asks)
def test_leased_less_given_back_is_never_more_than_the_limit(where, limit, asks):
    async def use(ledger):
        held = 0
        window = -1
        for give, count in asks:
            if give:
                back = min(count, held)
                await ledger.give_back("a", window, back, HOUR_S)
                held -= back
            else:
                grant = await ledger.lease("a", limit, count, HOUR_S)
                if grant.window != window:  # the test ran over a full hour
                    held, window = 0, grant.window
                held += grant.granted
                assert grant.left == limit - held
            assert 0 <= held <= limit

    where.run(use)


@pytest.mark.redis
def test_redis_keys_expire_with_their_window(redis_server):
    async def use(ledger):
        return await ledger.lease("a", 20, 10, 60)

    grant = Shared(redis_server).run(use)
    lives_ms = int(redis_server.command("PTTL", "paceline:limit:a")[1:])

    assert 0 < grant.ends_in_s <= 60
    assert 0 < lives_ms <= grant.ends_in_s * 1000 + 1001  # a second later, rounded up


@pytest.mark.redis
def test_the_ledger_in_redis_knows_how_many_processes_share_it(redis_server):
    async def use(ledger):
        others = [RedisLedger(ledger._link, share=0.5, clock=time.monotonic) for _ in range(2)]
        for member in (*others, ledger):
            await member.lease("a", 20, 1, HOUR_S)
            await member._meeting
        return ledger.peers

    assert Shared(redis_server).run(use) == 3
