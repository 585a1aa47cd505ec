"""A breaker opens after faults in a row, probes after a while, and is never stuck."""

import asyncio
import contextlib

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from paceline.base.errors import CircuitOpen, EngineError, InvalidRequest
from paceline.flow.breaker import Breaker, BreakerPolicy

POLICY = BreakerPolicy(failure_threshold=3, open_s=10.0, half_open_probes=2)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(POLICY, clock)


def fail(breaker, times=1):
    for _ in range(times):
        breaker.record_failure(breaker.allow())


def test_opens_at_the_threshold(breaker):
    fail(breaker, 2)
    before = breaker.state
    fail(breaker)

    assert before == "closed"
    assert breaker.state == "open"
    assert breaker.stats() == {
        "state": 2,
        "failures_in_row": 3,
        "failures_total": 3,
        "opened_total": 1,
        "refused_total": 0,
    }


def test_a_success_between_failures_keeps_it_closed(breaker):
    fail(breaker, 2)
    breaker.record_success(breaker.allow())
    fail(breaker, 2)

    assert breaker.state == "closed"


def test_open_refuses_with_the_time_to_the_next_probe(breaker, clock):
    fail(breaker, 3)
    clock.now += 4

    with pytest.raises(CircuitOpen) as refusal:
        breaker.allow()

    assert refusal.value.retry_after_s == pytest.approx(6.0)
    assert str(refusal.value) == (
        "the engine failed 3 times in a row (limit 3); try again in 6.0 s, when it is probed"
    )
    assert breaker.stats()["refused_total"] == 1


def test_half_open_lets_one_probe_through_at_a_time_and_closes_after_all(breaker, clock):
    fail(breaker, 3)
    clock.now += 10
    states = [breaker.state]
    first = breaker.allow()
    with pytest.raises(CircuitOpen):
        breaker.allow()
    breaker.record_success(first)
    states.append(breaker.state)
    breaker.record_success(breaker.allow())
    states.append(breaker.state)

    assert states == ["half_open", "half_open", "closed"]


def test_a_failed_probe_opens_it_for_the_whole_time_again(breaker, clock):
    fail(breaker, 3)
    clock.now += 10
    fail(breaker)
    clock.now += 9.9
    almost = breaker.state
    clock.now += 0.1

    assert (almost, breaker.state) == ("open", "half_open")


def test_check_refuses_early_without_taking_the_probes_place(breaker, clock):
    breaker.check()
    fail(breaker, 3)
    with pytest.raises(CircuitOpen):
        breaker.check()
    clock.now += 10
    breaker.check()
    breaker.check()

    breaker.allow()

    with pytest.raises(CircuitOpen):
        breaker.check()


def test_what_began_before_it_opened_does_not_close_it_nor_free_the_probes_place(breaker, clock):
    slow_success, slow_cancel, slow_failure = breaker.allow(), breaker.allow(), breaker.allow()
    fail(breaker, 3)
    breaker.record_success(slow_success)
    after_success = breaker.state
    clock.now += 10
    breaker.allow()
    breaker.release(slow_cancel)
    breaker.record_failure(slow_failure)

    assert after_success == "open"
    assert breaker.state == "half_open"
    with pytest.raises(CircuitOpen):
        breaker.allow()


def test_guard_counts_faults_only(breaker):
    def under_guard(error):
        with breaker.guard():
            raise error

    for error in (InvalidRequest("bad"), EngineError("broken"), EngineError("broken")):
        with pytest.raises(type(error)):
            under_guard(error)
    failures = breaker.failures_in_row
    with breaker.guard():
        pass

    assert (failures, breaker.failures_in_row) == (2, 0)


def test_guard_counts_the_kinds_it_is_given(breaker):
    with pytest.raises(OSError, match="unplugged"), breaker.guard(OSError):
        raise OSError("unplugged")

    assert breaker.failures_in_row == 1


def test_a_cancelled_probe_gives_its_place_back(breaker, clock, run_virtual):
    fail(breaker, 3)
    clock.now += 10

    async def probe():
        with breaker.guard():
            await asyncio.sleep(60)

    async def leave_early():
        async with asyncio.timeout(1):
            await probe()

    with pytest.raises(TimeoutError):
        run_virtual(leave_early())

    assert breaker.state == "half_open"
    breaker.record_success(breaker.allow())


def test_the_policy_may_change_while_running(breaker):
    fail(breaker, 2)
    breaker.policy = BreakerPolicy(failure_threshold=10)
    fail(breaker, 2)

    assert breaker.state == "closed"


class AnyOrder(RuleBasedStateMachine):
    """Whatever the order of calls and results: at most one probe is out, and time always heals."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker(POLICY, self.clock)
        self.tickets = []

    @rule()
    def call(self):
        probing = self.breaker.state != "closed"
        with contextlib.suppress(CircuitOpen):
            self.tickets.append((self.breaker.allow(), probing))

    @precondition(lambda self: self.tickets)
    @rule(how=st.sampled_from(["record_success", "record_failure", "release"]), which=st.integers(0, 100))
    def end(self, how, which):
        ticket, _ = self.tickets.pop(which % len(self.tickets))
        getattr(self.breaker, how)(ticket)

    @rule()
    def time_passes(self):
        self.clock.now += 3.5

    @invariant()
    def one_probe_at_most(self):
        out = [ticket for ticket, probe in self.tickets if probe and ticket == self.breaker._epoch]
        assert len(out) <= 1

    def teardown(self):
        for ticket, _ in self.tickets:
            self.breaker.release(ticket)
        self.clock.now += POLICY.open_s
        for _ in range(POLICY.half_open_probes):
            self.breaker.record_success(self.breaker.allow())
        assert self.breaker.state == "closed"


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=50, deadline=None)
