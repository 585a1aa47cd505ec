"""The Redis tier, against a real Redis."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from paceline.flow.cache.l3 import RedisCache
from paceline.flow.redis_link import RedisLink, RedisPolicy
from services import RedisServer

pytestmark = pytest.mark.redis


@asynccontextmanager
async def tier_on(url: str, budget_s: float = 10.0) -> AsyncIterator[tuple[RedisCache, RedisLink]]:
    link = RedisLink(RedisPolicy(url=url, timeout_ms=10_000.0))
    yield RedisCache(link, budget_s), link
    await link.close()


def test_returns_what_was_put_until_its_time(redis_server: RedisServer) -> None:
    async def scenario() -> None:
        async with tier_on(redis_server.url) as (tier, link):
            tier.put(b"k", b"value", 60.0)
            await link.ping()  # travels with what was put in the same turn

            assert await tier.get(b"k") == b"value"
            assert await tier.get(b"other") is None
            assert redis_server.command("TTL", "paceline:cache:k") in (b":60", b":59")
            assert tier.health().state == "ok"

    asyncio.run(scenario())


def test_a_hanging_redis_costs_the_budget_at_most(redis_server: RedisServer) -> None:
    async def scenario() -> None:
        async with tier_on(redis_server.url, budget_s=0.005) as (tier, _):
            await tier.get(b"k")
            redis_server.hang()

            assert await tier.get(b"k") is None
            assert tier.stats()["errors_total"] >= 1
            redis_server.resume()

    asyncio.run(scenario())


def test_a_dead_redis_is_skipped_and_used_again_when_it_is_back(redis_server: RedisServer) -> None:
    async def scenario() -> None:
        now = [time.monotonic()]
        link = RedisLink(RedisPolicy(url=redis_server.url, timeout_ms=10_000.0), clock=lambda: now[0])
        tier = RedisCache(link, 10.0)
        redis_server.stop()
        for _ in range(10):
            tier.put(b"k", b"value", 60.0)
            assert await tier.get(b"k") is None

        assert tier.stats()["skipped_total"] > 0
        assert tier.health().state == "failing"
        assert redis_server.url in tier.health().reason

        redis_server.start()
        now[0] += 10.0
        assert await tier.get(b"k") is None  # the probe
        tier.put(b"k", b"value", 60.0)
        await link.ping()
        assert await tier.get(b"k") == b"value"
        assert tier.health().state == "ok"
        await link.close()

    asyncio.run(scenario())
