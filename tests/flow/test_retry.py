"""Retries wait as long as they were asked to, and no longer than the caller can."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.errors import (
    ConfigError,
    DeadlineExceeded,
    EngineError,
    InvalidRequest,
    Overloaded,
    RateLimited,
)
from paceline.flow.retry import RetryPolicy, next_wait_s, retry, retry_sync

POLICY = RetryPolicy(attempts=4, first_wait_s=1.0, multiplier=3.0, max_wait_s=20.0)


class Flaky:
    """Fails with each of `errors`, then returns 'done'. Records the seconds between."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.now = 0.0
        self.waits = []

    def call(self):
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    async def acall(self):
        return self.call()

    def sleep(self, seconds):
        self.now += seconds
        self.waits.append(seconds)

    async def asleep(self, seconds):
        self.sleep(seconds)

    def clock(self):
        return self.now

    def run(self, kind="sync", policy=POLICY, **more):
        more = {"clock": self.clock, "rng": lambda: 0.5, **more}
        if kind == "sync":
            return retry_sync(self.call, policy, sleep=self.sleep, **more)
        return asyncio.run(retry(self.acall, policy, sleep=self.asleep, **more))


both = pytest.mark.parametrize("kind", ["sync", "async"])


@both
def test_back_off_grows_and_half_of_it_is_drawn(kind):
    flaky = Flaky(*[EngineError("broken")] * 3)

    assert flaky.run(kind) == "done"
    assert flaky.waits == [0.5, 1.5, 4.5]


@both
def test_the_last_error_is_raised_when_the_tries_are_used_up(kind):
    flaky = Flaky(*[EngineError(f"broken {n}") for n in range(1, 6)])

    with pytest.raises(EngineError, match="broken 4"):
        flaky.run(kind)

    assert len(flaky.waits) == 3


@both
def test_a_single_attempt_does_not_retry(kind):
    flaky = Flaky(EngineError("broken"))

    with pytest.raises(EngineError):
        flaky.run(kind, RetryPolicy(attempts=1))


@both
@pytest.mark.parametrize("error", [InvalidRequest("wrong"), ConfigError("wrong"), ValueError("wrong")])
def test_what_will_fail_again_is_not_tried_again(kind, error):
    flaky = Flaky(error)

    with pytest.raises(type(error)):
        flaky.run(kind)

    assert flaky.waits == []


@both
def test_given_kinds_are_tried_again(kind):
    flaky = Flaky(ConnectionResetError("gone"))

    assert flaky.run(kind, on=(OSError,)) == "done"


@both
def test_the_servers_wish_is_a_floor_and_jitter_comes_on_top(kind):
    flaky = Flaky(RateLimited("later", retry_after_s=12.0), Overloaded("later", retry_after_s=0.1))

    assert flaky.run(kind) == "done"
    assert flaky.waits == [12.5, pytest.approx(1.6)]


@both
def test_a_server_that_wants_more_patience_than_the_policy_has_ends_the_tries(kind):
    flaky = Flaky(RateLimited("later", retry_after_s=20.1))

    with pytest.raises(RateLimited):
        flaky.run(kind)

    assert flaky.waits == []


@both
def test_gives_up_when_the_next_try_would_start_after_the_deadline(kind):
    flaky = Flaky(*[DeadlineExceeded("slow")] * 3)

    with pytest.raises(DeadlineExceeded):
        flaky.run(kind, deadline_at=2.0)

    assert flaky.waits == [0.5]


def test_cancelling_ends_the_tries():
    flaky = Flaky(asyncio.CancelledError())

    with pytest.raises(asyncio.CancelledError):
        flaky.run("async", on=(Exception,))


policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 100),
    first_wait_s=st.floats(0, 3600),
    multiplier=st.floats(1, 100),
    max_wait_s=st.floats(0, 3600),
)


@given(policies, st.integers(1, 99), st.floats(0, 7200), st.floats(0, 7200), st.floats(0, 0.999))
def test_a_wait_is_never_shorter_than_asked_nor_longer_than_the_time_left(policy, attempt, asked, left, draw):
    error = Overloaded("later", retry_after_s=asked)

    wait_s = next_wait_s(error, attempt, policy, on=(), left_s=left, rng=lambda: draw)

    if wait_s is not None:
        assert asked <= wait_s < left
        assert wait_s <= asked + policy.max_wait_s
        assert asked <= policy.max_wait_s
