"""No window ever lets more than its limit through, however many processes share it and in whatever order they call."""

import asyncio
import multiprocessing
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from paceline.base.errors import RateLimited
from paceline.flow.limiter import UNLIMITED, EndpointLimit, Limiter, LimitPolicy, Verdict
from paceline.flow.quota import LocalLedger, RedisLedger
from paceline.flow.redis_link import RedisLink, RedisPolicy

MINUTE = 277_777 * 3600.0 + 40 * 60  # a full minute, 40 minutes into an hour


class Clock:
    def __init__(self, now=MINUTE):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def alone(clock, **policy):
    return Limiter(LimitPolicy(**policy), None, clock)


def passed(limiter, times, key="k", endpoint="/v1/embeddings", token_name=None):
    """How many of `times` requests pass."""
    return sum(limiter.take_nowait(key, endpoint, token_name).allowed for _ in range(times))


# -- which limit ----------------------------------------------------------------------------------------------


def test_without_limits_everything_passes(clock):
    assert alone(clock).take_nowait("k", "/v1/embeddings") is UNLIMITED


def test_general_limits_count_per_key_over_all_endpoints(clock):
    limiter = alone(clock, rpm=3)

    assert passed(limiter, 2, endpoint="/v1/embeddings") == 2
    assert passed(limiter, 2, endpoint="/v1/models") == 1
    assert passed(limiter, 9, key="other") == 3


def test_an_endpoint_limit_replaces_the_general_one_there(clock):
    limiter = alone(clock, rpm=3)
    limiter.configure_endpoint("/v1/infer", rpm=5, rph=50_000)

    assert passed(limiter, 9, endpoint="/v1/infer") == 5
    assert passed(limiter, 9, endpoint="/v1/models") == 3


def test_an_endpoint_may_be_without_limit(clock):
    limiter = alone(clock, rpm=3)
    limiter.configure_endpoint("/v1/models")

    assert passed(limiter, 9, endpoint="/v1/models") == 9


def test_a_tokens_limit_replaces_all_others_and_counts_over_keys_and_endpoints(clock):
    limiter = alone(clock, rpm=3, tokens={"batch job": EndpointLimit(rpm=7)})
    limiter.configure_endpoint("/v1/infer", rpm=1)

    assert passed(limiter, 4, key="a", endpoint="/v1/infer", token_name="batch job") == 4
    assert passed(limiter, 4, key="b", endpoint="/v1/models", token_name="batch job") == 3
    assert passed(limiter, 4, key="a", endpoint="/v1/models", token_name="unlisted") == 3


def test_configure_takes_new_limits(clock):
    limiter = alone(clock, rpm=3)
    limiter.configure(LimitPolicy(rpm=5))

    assert passed(limiter, 9) == 5


# -- windows --------------------------------------------------------------------------------------------------


def test_a_verdict_tells_what_the_headers_need(clock):
    limiter = alone(clock, rpm=2, rph=100)
    clock.now += 45

    verdicts = [limiter.take_nowait("k", "/") for _ in range(3)]

    assert verdicts == [
        Verdict(allowed=True, limit=2, remaining=1, reset_s=15.0, retry_after_s=0.0, window_s=60),
        Verdict(allowed=True, limit=2, remaining=0, reset_s=15.0, retry_after_s=0.0, window_s=60),
        Verdict(allowed=False, limit=2, remaining=0, reset_s=15.0, retry_after_s=15.0, window_s=60),
    ]


def test_the_tighter_window_is_told(clock):
    limiter = alone(clock, rpm=10, rph=5)

    verdict = limiter.take_nowait("k", "/")

    assert (verdict.window_s, verdict.limit, verdict.remaining) == (3600, 5, 4)


def test_a_refusal_says_what_is_used_up_and_when_to_come_back(clock):
    limiter = alone(clock, rpm=2)
    passed(limiter, 2)

    refusal = limiter.take_nowait("k", "/").refusal()

    assert isinstance(refusal, RateLimited)
    assert refusal.retry_after_s == 60.0
    assert str(refusal) == "all 2 requests per minute are used up; try again in 60.0 s"


def test_a_new_minute_brings_a_new_quota(clock):
    limiter = alone(clock, rpm=3)
    first = passed(limiter, 9)
    clock.now += 59.9
    same_minute = passed(limiter, 9)
    clock.now += 0.1

    assert (first, same_minute, passed(limiter, 9)) == (3, 0, 3)


def test_both_windows_hold_and_a_refusal_by_one_takes_nothing_from_the_other(clock):
    limiter = alone(clock, rpm=10, rph=25)
    allowed = []
    for _ in range(4):
        allowed.append(passed(limiter, 50))
        clock.now += 60

    assert allowed == [10, 10, 5, 0]


def test_a_refusal_by_the_hour_says_so(clock):
    limiter = alone(clock, rpm=10, rph=5)
    passed(limiter, 5)

    verdict = limiter.take_nowait("k", "/")

    assert (verdict.window_s, verdict.retry_after_s) == (3600, 1200.0)


def test_callers_are_remembered_in_bounded_memory(clock):
    limiter = alone(clock, rpm=3, max_keys=100)
    for caller in range(10_000):
        limiter.take_nowait(f"caller {caller}", "/")

    assert limiter.stats()["keys"] <= 100


def test_stats_count_decisions(clock):
    limiter = alone(clock, rpm=3)
    passed(limiter, 5)

    assert limiter.stats() == {
        "allowed_total": 3,
        "refused_total": 2,
        "leases_total": 0,
        "fallback_total": 0,
        "adrift": 0.0,
        "keys": 1,
    }
    assert limiter.health() == {"status": "ok", "shared": False}


# -- several processes, one ledger ----------------------------------------------------------------------------


class SlowLedger:
    """A ledger behind a wire: answers in its own time, and not at all while it is cut."""

    def __init__(self, ledger, delay_s=lambda: 0.001):
        self.ledger = ledger
        self.delay_s = delay_s
        self.cut = False
        self.asks = 0

    @property
    def peers(self):
        return self.ledger.peers

    async def lease(self, *ask):
        self.asks += 1
        return await self._answer(self.ledger.lease, ask)

    async def give_back(self, *ask):
        return await self._answer(self.ledger.give_back, ask)

    async def _answer(self, call, ask):
        await asyncio.sleep(self.delay_s())
        if self.cut:
            raise ConnectionError("the wire is cut")
        result = await call(*ask)
        await asyncio.sleep(self.delay_s())
        return result


def shared(loop, processes, share=0.1, delay_s=lambda: 0.001, **policy):
    """Limiters on one ledger, all on the loop's virtual time."""

    def clock():
        return MINUTE + loop.time()

    wire = SlowLedger(LocalLedger(share, clock), delay_s)
    policy = LimitPolicy(lease_share=share, **policy)
    return [Limiter(policy, wire, clock, peers=processes) for _ in range(processes)], wire


async def demand(limiter, times, per_s):
    """Ask `times` times at an even rate, not waiting for answers; how many pass."""

    async def ask(after_s):
        await asyncio.sleep(after_s)
        return (await limiter.take("k", "/")).allowed

    return sum(await asyncio.gather(*(ask(n / per_s) for n in range(times))))


def test_eight_processes_use_the_whole_limit_and_no_more(virtual_loop):
    limiters, _ = shared(virtual_loop, 8, rpm=1000, rph=1500)

    async def use():
        minutes = []
        for minute in range(3):
            await asyncio.sleep(max(0, minute * 60 - virtual_loop.time()))
            minutes.append(sum(await asyncio.gather(*(demand(x, 300, per_s=50) for x in limiters))))
        return minutes

    assert virtual_loop.run_until_complete(use()) == [1000, 500, 0]


def test_most_decisions_need_no_round_trip(virtual_loop):
    limiters, wire = shared(virtual_loop, 8, rpm=100_000)

    async def use():
        return sum(await asyncio.gather(*(demand(x, 2000, per_s=1000) for x in limiters)))

    assert virtual_loop.run_until_complete(use()) == 16_000
    assert wire.asks < 16_000 / 20


def test_a_process_that_falls_silent_strands_nothing(virtual_loop):
    limiters, _ = shared(virtual_loop, 2, rpm=1000)

    async def use():
        first = await demand(limiters[0], 200, per_s=1000)
        sweeping = asyncio.create_task(limiters[0].run())
        await asyncio.sleep(3)
        sweeping.cancel()
        return first, await demand(limiters[1], 2000, per_s=100)

    assert virtual_loop.run_until_complete(use()) == (200, 800)


def test_closing_hands_every_lease_back(virtual_loop):
    limiters, _ = shared(virtual_loop, 2, share=1.0, rpm=1000)

    async def use():
        first = await demand(limiters[0], 200, per_s=1000)
        await limiters[0].close()
        return first + await demand(limiters[1], 2000, per_s=100)

    assert virtual_loop.run_until_complete(use()) == 1000


def test_callers_of_one_moment_share_one_ask(virtual_loop):
    limiters, wire = shared(virtual_loop, 1, share=1.0, rpm=1000)

    async def use():
        return await asyncio.gather(*(limiters[0].take("k", "/") for _ in range(300)))

    verdicts = virtual_loop.run_until_complete(use())

    assert all(verdict.allowed for verdict in verdicts)
    assert wire.asks == 1


def test_a_caller_who_leaves_does_not_take_the_ask_along(virtual_loop):
    limiters, _ = shared(virtual_loop, 1, rpm=1000)

    async def use():
        leaver = asyncio.create_task(limiters[0].take("k", "/"))
        stayer = asyncio.create_task(limiters[0].take("k", "/"))
        await asyncio.sleep(0)
        leaver.cancel()
        return (await stayer).allowed

    assert virtual_loop.run_until_complete(use()) is True


def test_a_flood_of_refused_requests_does_not_reach_the_ledger(virtual_loop):
    limiters, wire = shared(virtual_loop, 1, rpm=5)

    async def use():
        await demand(limiters[0], 100, per_s=1e6)
        before = wire.asks
        await demand(limiters[0], 10_000, per_s=10_000)
        return wire.asks - before

    assert virtual_loop.run_until_complete(use()) <= 5


def test_without_the_ledger_the_processes_together_keep_the_limit(virtual_loop):
    limiters, wire = shared(virtual_loop, 8, rpm=1000)
    wire.cut = True

    async def use():
        return sum(await asyncio.gather(*(demand(x, 500, per_s=100) for x in limiters)))

    assert virtual_loop.run_until_complete(use()) == 1000
    assert all(x.health() == {"status": "fallback", "shared": True, "peers": 8} for x in limiters)
    assert all(x.stats()["fallback_total"] > 0 for x in limiters)


def test_what_passed_while_the_ledger_was_away_is_booked_when_it_is_back(virtual_loop):
    limiters, wire = shared(virtual_loop, 2, rpm=1000)

    async def use():
        wire.cut = True
        away = await demand(limiters[0], 300, per_s=100)
        wire.cut = False
        back = await demand(limiters[0], 300, per_s=100)
        await limiters[0].close()
        return away, back, await demand(limiters[1], 1000, per_s=100)

    assert virtual_loop.run_until_complete(use()) == (300, 300, 400)
    assert [x.health()["status"] for x in limiters] == ["ok", "ok"]


def test_a_fault_of_our_own_is_not_taken_for_an_absent_ledger(virtual_loop):
    limiters, wire = shared(virtual_loop, 1, rpm=1000)
    wire.delay_s = lambda: "soon"

    with pytest.raises(TypeError):
        virtual_loop.run_until_complete(limiters[0].take("k", "/"))


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(1, 60),
    share=st.floats(0.05, 1.0),
    delays=st.lists(st.floats(0, 0.7), min_size=1, max_size=7),
    calls=st.lists(st.tuples(st.integers(0, 2), st.floats(0, 130)), max_size=120),
)
def test_answers_that_cross_on_the_wire_do_not_let_more_through(limit, share, delays, calls):
    from conftest import VirtualLoop

    loop = VirtualLoop()
    turn = iter(range(10**9))
    limiters, _ = shared(loop, 3, share, lambda: delays[next(turn) % len(delays)], rpm=limit, rph=2 * limit)
    granted = Counter()

    async def call(process, at_s):
        await asyncio.sleep(at_s)
        if (await limiters[process].take("k", "/")).allowed:
            granted[int((MINUTE + loop.time()) // 60)] += 1

    async def use():
        sweeping = [asyncio.create_task(limiter.run()) for limiter in limiters]
        await asyncio.gather(*(call(*each) for each in calls))
        for task in sweeping:
            task.cancel()
        await asyncio.gather(*sweeping, return_exceptions=True)

    loop.run_until_complete(use())
    loop.close()

    assert max(granted.values(), default=0) <= limit
    assert granted.total() <= 2 * limit


class AnyInterleaving(RuleBasedStateMachine):
    """Three processes, one ledger: calls, pauses, sweeps and restarts in any order."""

    RPM, RPH = 12, 30

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.ledger = LocalLedger(0.4, self.clock)
        self.limiters = [self.process() for _ in range(3)]
        self.loop = asyncio.new_event_loop()
        self.granted = Counter()

    def process(self):
        return Limiter(LimitPolicy(rpm=self.RPM, rph=self.RPH), self.ledger, self.clock)

    def run(self, use):
        return self.loop.run_until_complete(use)

    @rule(process=st.integers(0, 2), times=st.integers(1, 6))
    def take(self, process, times):
        for _ in range(times):
            verdict = self.run(self.limiters[process].take("k", "/"))
            if verdict.allowed:
                self.granted[60, self.clock.now // 60] += 1
                self.granted[3600, self.clock.now // 3600] += 1
            assert 0 <= verdict.remaining < verdict.limit
            assert 0 < verdict.reset_s <= verdict.window_s

    @rule(seconds=st.sampled_from([0.01, 0.3, 7.0, 61.0, 1300.0]))
    def pause(self, seconds):
        self.clock.now += seconds

    @rule(process=st.integers(0, 2))
    def sweep(self, process):
        self.run(self.limiters[process].sweep())

    @rule(process=st.integers(0, 2))
    def restart(self, process):
        self.run(self.limiters[process].close())
        self.limiters[process] = self.process()

    @rule()
    def one_can_use_what_is_left_when_the_others_are_gone(self):
        for process in range(3):
            self.restart(process)
        self.take(0, self.RPH + 1)

        full = (
            self.granted[60, self.clock.now // 60] == self.RPM
            or self.granted[3600, self.clock.now // 3600] == self.RPH
        )
        assert full

    @invariant()
    def no_window_is_over_its_limit(self):
        limits = {60: self.RPM, 3600: self.RPH}
        assert all(count <= limits[span_s] for (span_s, _), count in self.granted.items())

    def teardown(self):
        self.loop.close()


TestAnyInterleaving = AnyInterleaving.TestCase
TestAnyInterleaving.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


# -- Redis ----------------------------------------------------------------------------------------------------


def hammer(url, limit, attempts, results):
    """One process that asks for `attempts` requests; puts how many passed into `results`, by hour."""

    async def main():
        link = RedisLink(RedisPolicy(url=url, timeout_ms=20_000.0))
        limiter = Limiter(LimitPolicy(rph=limit), RedisLedger(link, 0.1, time.monotonic), peers=4)
        allowed = Counter()
        for _ in range(attempts):
            if (await limiter.take("k", "/")).allowed:
                allowed[int(time.time() // 3600)] += 1
        await limiter.close()
        await link.close()
        results.put(allowed)

    asyncio.run(main())


@pytest.mark.redis
def test_real_processes_share_a_limit_in_redis_exactly(redis_server):
    spawn = multiprocessing.get_context("spawn")
    results = spawn.SimpleQueue()
    processes = [spawn.Process(target=hammer, args=(redis_server.url, 5000, 3000, results)) for _ in range(4)]
    for process in processes:
        process.start()
    allowed = sum((results.get() for _ in processes), Counter())
    for process in processes:
        process.join()
    results.close()

    assert set(allowed.values()) == {5000}


@pytest.mark.redis
def test_redis_dies_hangs_and_comes_back_and_nobody_sees_an_error(redis_server):
    ahead_s = [0.0]

    def clock():
        return time.time() + ahead_s[0]

    async def use():
        links = [RedisLink(RedisPolicy(url=redis_server.url, timeout_ms=100.0), clock) for _ in range(2)]
        limiters = [Limiter(LimitPolicy(rph=1000), RedisLedger(x, 0.1, clock), clock, peers=2) for x in links]

        async def both(times):
            return [[(await x.take("k", "/")).allowed for _ in range(times)].count(True) for x in limiters]

        async def until(status):
            while {x.health()["status"] for x in limiters} != {status}:
                ahead_s[0] += 1.1  # longer than the breaker and the meter wait before they ask again
                for limiter in limiters:
                    await limiter.sweep()
                await both(1)

        counts = [await both(10)]
        redis_server.stop()
        for limiter in limiters:
            await limiter.sweep()
            await limiter.sweep()
        await until("fallback")
        counts.append(await both(10))
        redis_server.start()
        await until("ok")
        redis_server.hang()
        await until("fallback")
        counts.append(await both(10))
        redis_server.resume()
        await until("ok")
        counts.append(await both(10))
        for limiter, link in zip(limiters, links, strict=True):
            await limiter.close()
            await link.close()
        return counts

    assert asyncio.run(use()) == [[10, 10]] * 4
