"""Every setting that says it is live: changed through the API, its part sees it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest

from paceline.app.live import FOLLOW_S, Followers
from paceline.app.server import open_application
from paceline.embed.layout import Layout, resolved
from paceline.flow.batch_queue import BatchPolicy
from paceline.flow.cache.lru import LruCache
from paceline.settings import iter_knobs, load
from paceline.vectors.policy import Schema
from paceline.vectors.store import VectorStore

OTHER = {
    "serve.timeout_s": 7.0,
    "serve.generate_timeout_s": 70.0,
    "serve.max_body_bytes": 4096,
    "compression.enabled": False,
    "compression.min_bytes": 1,
    "limits.rpm": 1_000_000,
    "limits.rph": 10_000_000,
    "limits.endpoints": {"/v1/infer": {"rpm": 7, "rph": 70}},
    "limits.tokens": {"default": {"rpm": 8, "rph": 80}},
    "cache.l1.max_bytes": 1 << 16,
    "cache.l1.eviction": "lru",
    "cache.l3.budget_ms": 3.0,
    "cache.ttl.hot_s": 11.0,
    "cache.ttl.warm_s": 12.0,
    "cache.ttl.result_s": 13.0,
    "cache.ttl.stale_s": 14.0,
    "embed.max_texts": 3,
    "embed.batch.max_size": 5,
    "embed.batch.max_cost": 77,
    "embed.batch.max_wait_ms": 1.5,
    "embed.batch.adaptive": False,
    "embed.batch.ageing_s": 0.5,
    "embed.gate.max_queue": 9,
    "embed.gate.max_queue_tokens": 99,
    "embed.gate.slo_ms": 123.0,
    "embed.breaker.failure_threshold": 2,
    "embed.breaker.open_s": 4.0,
    "embed.breaker.half_open_probes": 3,
    "generate.schedule.max_batch_tokens": 64,
    "generate.schedule.slowdown": 3.5,
    "generate.schedule.ageing_s": 0.5,
    "generate.schedule.speculative_tokens": 2,
    "generate.admission.max_waiting": 9,
    "generate.admission.max_waiting_tokens": 99,
    "generate.admission.slo_ttft_ms": 321.0,
    "generate.breaker.failure_threshold": 2,
    "generate.breaker.open_s": 4.0,
    "generate.breaker.half_open_probes": 3,
    "vectors.recheck_s": 60.0,
    "vectors.search.ef": 55,
    "vectors.search.recall": 0.9,
    "vectors.search.candidates": 11,
}
"""Another value for each live setting."""
WRITING = ("generate.model=demo", "generate.kv.max_bytes=33554432")


def seen(application, name):
    """What the part that uses the setting has in hand."""
    entrance = application.entrance
    service = next(iter(application._quick.values()))._default
    tiers, lane = service._cache, service._compute.lane
    group, _, field = name.rpartition(".")
    if group == "cache.ttl" and field != "stale_s":
        return service.ttl_s  # of the class in force
    part = {
        "serve": entrance.policy,
        "compression": entrance.compression,
        "embed.batch": lane._batcher.queue.policy,
        "embed.gate": lane._gate.policy,
        "embed.breaker": lane._breaker.policy,
    }.get(group)
    if group.startswith("generate."):
        writer = application._hot["/v1/score"]._generators["paceline-demo"]._generator
        part = {
            "generate.schedule": writer._engine.scheduler.policy,
            "generate.admission": writer.admission.policy,
            "generate.breaker": writer.breaker.policy,
        }[group]
    if group.startswith("vectors"):
        service = application._vectors._places["/v1/vectors/query"].routes["POST"]._parts.vectors
        held = service._holding.known("a")
        part = held.recall if field == "recheck_s" else held.collection.policy.search
    if part is not None:
        return getattr(part, field)
    limiter = entrance.limiter
    return {
        "limits.rpm": lambda: limiter._general.rpm,
        "limits.rph": lambda: limiter._general.rph,
        "limits.endpoints": lambda: _plain(limiter._endpoints),
        "limits.tokens": lambda: _plain(limiter._tokens),
        "cache.l1.max_bytes": lambda: tiers._l1.max_bytes,
        "cache.l1.eviction": lambda: "lru" if isinstance(tiers._l1, LruCache) else "cost",
        "cache.l3.budget_ms": lambda: tiers._l3.budget_s * 1e3,
        "cache.ttl.stale_s": lambda: tiers._l1.stale_s,
        "embed.max_texts": lambda: service.max_texts,
    }[name]()


def _same(one, other):
    return one == (pytest.approx(other) if isinstance(other, float) else other)


def _plain(table):
    return {key: {"rpm": entry.rpm, "rph": entry.rph} for key, entry in table.items()}


@asynccontextmanager
async def house(state_dir, *sets):
    given = [f"serve.state_dir={state_dir}", "admin.token=adm", "auth.token=user", *sets]
    settings = load(environ={}, sets=[*given, "redis.url=redis://127.0.0.1:1/0"]).settings
    async with (
        open_application(settings) as application,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(application),
            base_url="http://house",
            headers={"authorization": "Bearer adm"},
        ) as client,
    ):
        yield application, client


def test_the_part_that_uses_a_live_setting_sees_its_change_and_its_end(state_dir, tmp_path):
    """For each of them, so that no setting says that it is live and is not."""

    VectorStore(tmp_path).create("a", Schema(dimensions=4)).close()

    async def scenario():
        wrong = []
        for ttl_class in ("hot", "warm", "result"):
            async with house(
                state_dir,
                "cache.l3.enabled=true",
                f"cache.ttl_class={ttl_class}",
                f"vectors.folder={tmp_path}",
                *WRITING,
            ) as (
                application,
                client,
            ):
                for name, value in OTHER.items():
                    if name.startswith("cache.ttl.") and name not in {
                        f"cache.ttl.{ttl_class}_s",
                        "cache.ttl.stale_s",
                    }:
                        continue
                    before = seen(application, name)
                    trial = {"changes": {name: value}, "lease_s": 60}
                    reply = (await client.patch("/admin/settings", json=trial)).json()
                    during = seen(application, name)
                    await client.delete(f"/admin/settings/lease/{reply['lease']['id']}")
                    if before == value or not _same(during, value) or seen(application, name) != before:
                        wrong.append((name, before, during))
        return wrong

    assert set(OTHER) == {knob.name for knob in iter_knobs() if knob.live}
    assert asyncio.run(scenario()) == []


def test_a_change_shows_in_what_callers_get(state_dir):
    async def scenario():
        async with house(state_dir) as (_, client):

            async def embed(texts, **headers):
                user = {"authorization": "Bearer user", **headers}
                return await client.post("/v1/embeddings", json={"input": texts}, headers=user)

            texts = [f"text {number}" for number in range(4)]
            statuses = [(await embed(texts)).status_code]
            for changes in (
                {"embed.max_texts": 3},
                {"embed.max_texts": 4},
                {"serve.max_body_bytes": 1024},
                {"limits.tokens": {"default": {"rpm": 1}}},
            ):
                await client.patch("/admin/settings", json={"changes": changes})
                body = texts if "serve.max_body_bytes" not in changes else ["long " * 300]
                statuses.append((await embed(body)).status_code)
            statuses.append((await embed("once more")).status_code)
            return statuses

    assert asyncio.run(scenario()) == [200, 413, 200, 413, 200, 429]


def test_batches_follow_the_new_bound_and_are_told(state_dir):
    async def scenario():
        async with house(state_dir, "cache.enabled=false") as (_, client):
            user = {"authorization": "Bearer user"}
            body = {"input": [f"text {number}" for number in range(8)]}
            await client.post("/v1/embeddings", json=body, headers=user)
            first = (await client.get("/admin/batches")).json()
            await client.patch("/admin/settings", json={"changes": {"embed.batch.max_size": 2}})
            await client.post("/v1/embeddings", json=body, headers=user)
            second = (await client.get(f"/admin/batches?since={first['next']}")).json()
            return first, second

    first, second = asyncio.run(scenario())

    assert (
        sum(rows for _, rows, *_ in first["batches"]) == sum(rows for _, rows, *_ in second["batches"]) == 8
    )
    assert {rows for _, rows, *_ in second["batches"]} <= {1, 2}
    for _, rows, length, tokens, busy, wait_s, run_s in second["batches"]:
        assert tokens <= rows * length
        assert 1 <= busy
        assert 0 <= wait_s < 1
        assert 0 < run_s < 10
    assert max(started_at for started_at, *_ in first["batches"]) < min(
        started_at for started_at, *_ in second["batches"]
    )


def test_no_bound_of_cost_is_the_layouts():
    layout = Layout(streams=1, threads=2, max_cost=512, bucket=8, precision="fp32")

    assert resolved(BatchPolicy(max_cost=0, bucket=0), layout).max_cost == 512
    assert resolved(BatchPolicy(max_cost=64, bucket=16), layout) == BatchPolicy(max_cost=64, bucket=16)


def test_zero_takes_the_layouts_bound_on_a_running_server(state_dir):
    async def scenario():
        async with house(state_dir) as (application, client):
            measured = seen(application, "embed.batch.max_cost")
            bounds = []
            for value in (64, 0):
                await client.patch("/admin/settings", json={"changes": {"embed.batch.max_cost": value}})
                bounds.append(seen(application, "embed.batch.max_cost"))
            return measured, bounds

    measured, bounds = asyncio.run(scenario())

    assert measured > 0
    assert bounds == [64, measured]


# -- several processes --------------------------------------------------------------------------------------------


def test_a_change_waits_until_every_follower_has_it(run_virtual):
    async def scenario():
        followers, version = Followers(), 1
        follower = asyncio.ensure_future(followers.after("one", 1, lambda: version))
        await asyncio.sleep(0)
        version = 2
        reached = asyncio.ensure_future(followers.reach(2))
        followers.move()
        await follower
        early = reached.done()
        asking = asyncio.ensure_future(followers.after("one", 2, lambda: version))
        await reached
        asking.cancel()
        return early, asyncio.get_running_loop().time()

    assert run_virtual(scenario()) == (False, 0.0)


def test_a_follower_that_ended_is_not_waited_for(run_virtual):
    async def scenario():
        followers = Followers()
        follower = asyncio.ensure_future(followers.after("one", 1, lambda: 1))
        await asyncio.sleep(0)
        reached = asyncio.ensure_future(followers.reach(2))
        await asyncio.sleep(0)
        follower.cancel()
        await reached
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario()) == 0.0


def test_a_follower_that_sleeps_is_waited_for_once(run_virtual, caplog):
    async def scenario():
        followers, loop = Followers(), asyncio.get_running_loop()
        await followers.after("worker 7", 1, lambda: 2)
        await followers.reach(2)
        once = loop.time()
        await followers.reach(3)
        return once, loop.time()

    assert run_virtual(scenario()) == (FOLLOW_S, FOLLOW_S)
    assert "worker 7" in caplog.text
