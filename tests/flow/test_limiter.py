"""No window ever lets more than its limit through, however many processes share it and in whatever order they call."""

import asyncio
import multiprocessing
import time
from collections import Counter

import pytest

from limiter_clock import Clock
from paceline.base.errors import RateLimited
from paceline.flow.limiter import UNLIMITED, EndpointLimit, Limiter, LimitPolicy, Verdict
from paceline.flow.quota import RedisLedger
from paceline.flow.redis_link import RedisLink, RedisPolicy


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
