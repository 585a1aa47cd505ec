"""Processes that share a limit by leases of one ledger let no more through than one would, in whatever order they call."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from limiter_clock import MINUTE, Clock
from paceline.flow.limiter import Limiter, LimitPolicy
from paceline.flow.quota import LocalLedger


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
