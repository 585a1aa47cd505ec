"""Look-ups go from near to far, fills come back; a tier that fails is skipped."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paceline.flow.cache.entry import decode, encode
from paceline.flow.cache.health import TierHealth
from paceline.flow.cache.l1 import CostCache
from paceline.flow.cache.l2 import DiskCache
from paceline.flow.cache.l3 import RedisCache
from paceline.flow.cache.lru import LruCache
from paceline.flow.cache.policy import CachePolicy, L1Policy, L2Policy, L3Policy, TtlPolicy
from paceline.flow.cache.tiers import Tiers, open_tiers
from paceline.flow.redis_link import RedisLink, RedisPolicy
from services import RedisServer

RunVirtual = Callable[[Any], Any]
KEY = bytes(16)
"""Ends in 0, so its life is not shortened."""


class Model:
    """Makes values in a second of virtual time; counts its runs."""

    def __init__(self) -> None:
        self.runs = 0
        self.error: Exception | None = None

    async def __call__(self) -> tuple[bytes, float]:
        self.runs += 1
        run = self.runs
        await asyncio.sleep(1)
        if self.error is not None:
            raise self.error
        return b"value %d" % run, 0.25


def tiers_on(
    loop_time: Callable[[], float], policy: CachePolicy | None = None, l2: DiskCache | None = None
) -> Tiers:
    return Tiers(policy or CachePolicy(), CostCache(1 << 16, loop_time), l2, None, loop_time)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[DiskCache]:
    tier = DiskCache(tmp_path / "tier", 1 << 20)
    yield tier
    tier.close()


def test_a_miss_fills_and_the_next_look_up_hits(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        model, tiers = Model(), tiers_on(asyncio.get_running_loop().time)

        assert tiers.peek(KEY) is None
        assert await tiers.fetch(KEY, model, 60.0) == (b"value 1", "miss")
        assert tiers.peek(KEY) == b"value 1"
        assert await tiers.fetch(KEY, model, 60.0) == (b"value 1", "l1")
        stats = tiers.stats()
        assert (stats["l1_hits_total"], stats["l1_misses_total"], stats["saved_s_total"]) == (2, 1, 0.5)
        assert stats["l1_entries"] == 1

    run_virtual(scenario())


def test_a_thousand_callers_cost_one_run(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        model, tiers = Model(), tiers_on(asyncio.get_running_loop().time)
        results = await asyncio.gather(*(tiers.fetch(KEY, model, 60.0) for _ in range(1000)))

        assert model.runs == 1
        assert [tier for _, tier in results] == ["miss"] + ["flight"] * 999
        assert {value for value, _ in results} == {b"value 1"}
        assert tiers.stats()["shared_total"] == 999
        assert tiers.stats()["saved_s_total"] == 999 * 0.25

    run_virtual(scenario())


def test_only_a_lower_tier_a_flight_or_a_stale_value_may_bring_what_memory_lacks(
    run_virtual: RunVirtual, disk: DiskCache
) -> None:
    async def scenario() -> None:
        clock = asyncio.get_running_loop().time
        alone = tiers_on(clock)

        assert not alone.may_bring(KEY)
        assert tiers_on(clock, l2=disk).may_bring(KEY)
        assert tiers_on(clock, CachePolicy(ttl=TtlPolicy(stale_s=1.0))).may_bring(KEY)
        flying = asyncio.ensure_future(alone.fetch(KEY, Model(), 60.0))
        await asyncio.sleep(0.5)
        assert alone.may_bring(KEY)
        await flying
        assert not alone.may_bring(KEY)

    run_virtual(scenario())


def test_the_run_ends_when_all_callers_left(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        model, tiers = Model(), tiers_on(asyncio.get_running_loop().time)
        callers = [asyncio.create_task(tiers.fetch(KEY, model, 60.0)) for _ in range(3)]
        await asyncio.sleep(0.5)
        for caller in callers:
            caller.cancel()
        await asyncio.sleep(10)

        assert tiers.peek(KEY) is None
        assert tiers.stats()["flights"] == 0

    run_virtual(scenario())


def test_a_failure_reaches_the_callers_and_is_not_kept(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        model, tiers = Model(), tiers_on(asyncio.get_running_loop().time)
        model.error = ValueError("engine on fire")
        results = await asyncio.gather(
            *(tiers.fetch(KEY, model, 60.0) for _ in range(2)), return_exceptions=True
        )
        assert [str(error) for error in results] == ["engine on fire"] * 2
        model.error = None

        assert await tiers.fetch(KEY, model, 60.0) == (b"value 2", "miss")

    run_virtual(scenario())


def test_a_value_lives_its_time_or_a_tenth_less_by_its_key(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        model, tiers = Model(), tiers_on(loop.time)
        long, short = KEY, KEY[:-1] + b"\xff"
        await asyncio.gather(tiers.fetch(long, model, 100.0), tiers.fetch(short, model, 100.0))

        await asyncio.sleep(89)
        assert tiers.peek(short) is not None
        await asyncio.sleep(2)
        assert (tiers.peek(short), tiers.peek(long) is not None) == (None, True)
        await asyncio.sleep(10)
        assert tiers.peek(long) is None

    run_virtual(scenario())


def test_a_stale_value_is_served_while_one_run_makes_it_anew(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        policy = CachePolicy(ttl=TtlPolicy(stale_s=30.0))
        model, tiers = Model(), tiers_on(asyncio.get_running_loop().time, policy)
        await tiers.fetch(KEY, model, 10.0)
        await asyncio.sleep(11)

        assert tiers.peek(KEY) is None
        assert await tiers.fetch(KEY, model, 10.0) == (b"value 1", "l1")
        assert await tiers.fetch(KEY, model, 10.0) == (b"value 1", "l1")
        await asyncio.sleep(1.5)
        assert tiers.peek(KEY) == b"value 2"
        assert (model.runs, tiers.stats()["stale_total"]) == (2, 2)

        await asyncio.sleep(60)
        assert await tiers.fetch(KEY, model, 10.0) == (b"value 3", "miss")

    run_virtual(scenario())


def test_a_refresh_that_fails_is_counted_and_the_stale_value_stays(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        policy = CachePolicy(ttl=TtlPolicy(stale_s=30.0))
        model, tiers = Model(), tiers_on(asyncio.get_running_loop().time, policy)
        await tiers.fetch(KEY, model, 10.0)
        await asyncio.sleep(11)
        model.error = ValueError("no")
        await tiers.fetch(KEY, model, 10.0)
        await asyncio.sleep(2)

        assert await tiers.fetch(KEY, model, 10.0) == (b"value 1", "l1")
        assert tiers.stats()["refresh_errors_total"] == 1
        await tiers.close()

    run_virtual(scenario())


def test_the_disk_fills_the_memory_with_what_is_left(run_virtual: RunVirtual, disk: DiskCache) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        model = Model()
        await tiers_on(loop.time, l2=disk).fetch(KEY, model, 100.0)
        assert disk.flush()
        assert decode(disk.get(KEY) or b"") == (b"value 1", 101.0, 0.25)
        await asyncio.sleep(50)
        restarted = tiers_on(loop.time, l2=disk)

        assert await restarted.fetch(KEY, model, 100.0) == (b"value 1", "l2")
        assert await restarted.fetch(KEY, model, 100.0) == (b"value 1", "l1")
        assert restarted.stats()["l2_hits_total"] == 1
        assert restarted.stats()["saved_s_total"] == 0.5
        await asyncio.sleep(51)
        assert restarted.peek(KEY) is None
        assert await restarted.fetch(KEY, model, 100.0) == (b"value 2", "miss")

    run_virtual(scenario())


def test_what_the_disk_holds_of_others_is_a_miss(run_virtual: RunVirtual, disk: DiskCache) -> None:
    async def scenario() -> None:
        model, tiers = Model(), tiers_on(asyncio.get_running_loop().time, l2=disk)
        disk.put(KEY, b"\x09" + encode(b"other version", 1e12, 1.0)[1:])
        assert disk.flush()

        assert await tiers.fetch(KEY, model, 60.0) == (b"value 1", "miss")
        assert tiers.stats()["l2_misses_total"] == 1

    run_virtual(scenario())


def test_without_any_tier_everything_still_works(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        model, tiers = Model(), Tiers(CachePolicy(), None)

        assert tiers.peek(KEY) is None
        assert await tiers.fetch(KEY, model, 60.0) == (b"value 1", "miss")
        assert {name: health.state for name, health in tiers.health().items()} == dict.fromkeys(
            ("l1", "l2", "l3"), "off"
        )

    run_virtual(scenario())


def test_switched_off_it_is_bypassed_and_may_be_switched_on_while_running(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        model, tiers = Model(), tiers_on(asyncio.get_running_loop().time, CachePolicy(enabled=False))
        assert await tiers.fetch(KEY, model, 60.0) == (b"value 1", "bypass")
        tiers.apply(CachePolicy())

        assert await tiers.fetch(KEY, model, 60.0) == (b"value 2", "miss")

    run_virtual(scenario())


def test_opens_the_tiers_of_the_settings(tmp_path: Path) -> None:
    async def scenario() -> None:
        plain = open_tiers(CachePolicy(l1=L1Policy(eviction="lru")))
        assert isinstance(plain._l1, LruCache)
        assert plain.health()["l2"] == TierHealth("off", "switched off by the settings")

        (tmp_path / "not ours").write_text("")
        foreign = open_tiers(CachePolicy(l2=L2Policy(enabled=True, path=str(tmp_path))))
        assert "not ours" in foreign.health()["l2"].reason
        assert await foreign.fetch(KEY, Model(), 60.0) == (b"value 1", "miss")
        await foreign.close()

        ours = open_tiers(CachePolicy(l2=L2Policy(enabled=True)), folder=tmp_path / "tier")
        assert ours.health()["l2"] == TierHealth("ok")
        await ours.close()

    asyncio.run(scenario())


def test_classes_of_results_live_by_the_settings() -> None:
    ttl = TtlPolicy(hot_s=1, warm_s=2, result_s=3)

    assert [ttl.of("hot"), ttl.of("warm"), ttl.of("result")] == [1, 2, 3]


@pytest.mark.redis
def test_hosts_share_through_redis_and_fill_their_disks(redis_server: RedisServer, disk: DiskCache) -> None:
    async def scenario() -> None:
        policy = CachePolicy(l3=L3Policy(enabled=True, budget_ms=10_000.0))
        link = RedisLink(RedisPolicy(url=redis_server.url, timeout_ms=10_000.0))
        one, two = (
            open_tiers(policy, link=link),
            Tiers(policy, CostCache(1 << 16), disk, RedisCache(link, 10.0)),
        )
        model = Model()
        await one.fetch(KEY, model, 60.0)
        await link.close()  # ends what is under way; the next call connects again

        assert await two.fetch(KEY, model, 60.0) == (b"value 1", "l3")
        assert await two.fetch(KEY, model, 60.0) == (b"value 1", "l1")
        assert disk.flush()
        assert decode(disk.get(KEY) or b"") is not None
        assert (two.stats()["l3_hits_total"], two.health()["l3"].state) == (1, "ok")
        await link.close()

    asyncio.run(scenario())


@pytest.mark.redis
def test_a_dead_redis_is_no_error(redis_server: RedisServer) -> None:
    async def scenario() -> None:
        link = RedisLink(RedisPolicy(url=redis_server.url))
        tiers = open_tiers(CachePolicy(l3=L3Policy(enabled=True)), link=link)
        redis_server.stop()

        assert await tiers.fetch(KEY, Model(), 60.0) == (b"value 1", "miss")
        assert tiers.peek(KEY) == b"value 1"
        assert tiers.stats()["l3_misses_total"] == 1
        assert tiers.stats()["l3_errors_total"] + tiers.stats()["l3_skipped_total"] >= 1
        await link.close()

    asyncio.run(scenario())


def test_another_size_of_the_memory_tier_takes_effect_at_once(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        tiers = open_tiers(CachePolicy(), clock=asyncio.get_running_loop().time)
        for number in range(20):
            await tiers.fetch(number.to_bytes(16, "big"), Model(), 600.0)
        tiers.apply(CachePolicy(l1=L1Policy(max_bytes=4096)))

        assert 1 < tiers.stats()["l1_entries"] < 20
        assert tiers.stats()["l1_bytes"] <= 4096

    run_virtual(scenario())


def test_another_eviction_starts_empty_and_no_counter_goes_back(run_virtual: RunVirtual) -> None:
    async def scenario() -> None:
        tiers = open_tiers(CachePolicy(), clock=asyncio.get_running_loop().time)
        await tiers.fetch(KEY, Model(), 600.0)
        await tiers.fetch(KEY, Model(), 600.0)
        before = tiers.stats()
        tiers.apply(CachePolicy(l1=L1Policy(eviction="lru"), ttl=TtlPolicy(stale_s=5.0)))
        after = tiers.stats()

        assert isinstance(tiers._l1, LruCache)
        assert (tiers._l1.stale_s, after["l1_entries"], tiers.peek(KEY)) == (5.0, 0, None)
        totals = {key for key in before if key.endswith("_total")}
        assert {key: after[key] for key in totals} == {key: before[key] for key in totals}
        await tiers.fetch(KEY, Model(), 600.0)
        await tiers.fetch(KEY, Model(), 600.0)
        assert tiers.stats()["l1_hits_total"] == before["l1_hits_total"] + 1

    run_virtual(scenario())
