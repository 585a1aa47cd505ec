"""Both memory tiers: bounded in bytes, honest about time; the cost-aware one keeps what saves most per byte."""

import gc
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.flow.cache.l1 import ENTRY_BYTES, CostCache
from paceline.flow.cache.lru import LruCache

Kind = type[CostCache] | type[LruCache]
both = pytest.mark.parametrize("kind", [CostCache, LruCache])


class Hand:
    """A clock that is set by hand."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def key(number: int) -> bytes:
    return number.to_bytes(16, "little")


@both
def test_returns_what_was_put(kind: Kind) -> None:
    cache = kind(1 << 16)
    cache.put(b"k", b"value", 0.5, 60.0)

    assert cache.get(b"k") == b"value"
    assert cache.get(b"other") is None
    assert cache.stats()["hits_total"] == 1
    assert cache.stats()["saved_s_total"] == 0.5


@both
def test_a_new_value_replaces_the_old(kind: Kind) -> None:
    cache = kind(1 << 16)
    cache.put(b"k", b"old", 1.0, 60.0)
    before = cache.bytes
    cache.put(b"k", b"newer", 1.0, 60.0)

    assert cache.get(b"k") == b"newer"
    assert len(cache) == 1
    assert cache.bytes == before + 2


@both
def test_is_fresh_until_its_time_and_stale_a_while_longer(kind: Kind) -> None:
    clock = Hand()
    cache = kind(1 << 16, clock, stale_s=5.0)
    cache.put(b"k", b"v", 1.0, 10.0)

    clock.now += 9.9
    assert cache.get(b"k") == b"v"
    clock.now += 0.1
    assert cache.get(b"k") is None
    assert cache.stale(b"k") == b"v"
    clock.now += 5.0
    assert cache.stale(b"k") is None


@both
def test_a_value_over_its_time_is_declined(kind: Kind) -> None:
    cache = kind(1 << 16, stale_s=5.0)
    cache.put(b"dead", b"v", 1.0, -5.0)
    cache.put(b"stale", b"v", 1.0, -1.0)

    assert cache.stale(b"dead") is None
    assert cache.stale(b"stale") == b"v"
    assert cache.stats()["declined_total"] == 1


@both
def test_a_value_larger_than_the_cache_is_declined(kind: Kind) -> None:
    cache = kind(4096)
    cache.put(b"k", bytes(4096), 1e9, 60.0)

    assert cache.get(b"k") is None
    assert cache.stats()["declined_total"] == 1
    assert cache.stats()["entries"] == 0


def test_the_expired_go_even_when_they_were_precious() -> None:
    clock = Hand()
    cache = CostCache(1 << 16, clock)
    for number in range(10):
        cache.put(key(number), b"precious", 1e6, 1.0)
    clock.now += 2.0
    for number in range(100, 110):
        cache.put(key(number), b"cheap", 1e-6, 1.0)

    assert cache.stats()["expired_total"] == 10
    assert cache.stats()["entries"] == 10


operations = st.lists(
    st.tuples(
        st.sampled_from(["put", "get", "wait"]),
        st.integers(0, 40),
        st.integers(0, 3000),
        st.floats(0, 1e6),
        st.floats(0.1, 20.0),
    ),
    max_size=300,
)


@both
@given(operations=operations, max_bytes=st.integers(4096, 40_000))
def test_is_never_larger_than_its_bound_and_never_wrong(
    kind: Kind, operations: list[tuple[str, int, int, float, float]], max_bytes: int
) -> None:
    """Against a dict that forgets nothing: a hit is the last value put, in its time; the bytes add up."""
    clock = Hand()
    cache = kind(max_bytes, clock)
    empty_bytes = cache.bytes
    model: dict[bytes, tuple[bytes, float]] = {}
    for turn, (operation, number, size, cost_s, ttl_s) in enumerate(operations):
        if operation == "put":
            value = turn.to_bytes(4, "little") + bytes(size)
            cache.put(key(number), value, cost_s, ttl_s)
            model[key(number)] = (value, clock.now + ttl_s)
        elif operation == "get":
            got = cache.get(key(number))
            if got is not None:
                assert got == model[key(number)][0]
                assert clock.now < model[key(number)][1]
        else:
            clock.now += ttl_s / 4
        assert cache.bytes <= max_bytes
    if isinstance(cache, CostCache):
        entries = cache._table
        assert [slot.index for slot in entries] == list(range(len(entries)))
        assert {slot.key: slot for slot in entries} == cache._slots
        overhead = sum(len(slot.key) + len(slot.value) + ENTRY_BYTES for slot in entries)
        assert cache.bytes == empty_bytes + overhead


@both
def test_the_memory_it_takes_is_the_memory_it_counts(kind: Kind) -> None:
    """tracemalloc does not see the allocator's rounding, so it must be less, and not much less."""
    draw = random.Random(1)
    for size in (100, 1536):
        gc.collect()
        tracemalloc.start()
        cache = kind(4 << 20)
        while cache.evictions_total < 1000:
            cache.put(draw.randbytes(16), draw.randbytes(size), 1.0 + len(cache) + draw.random(), 60.0)
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()

        assert 0.75 * cache.max_bytes < taken <= cache.max_bytes


def test_keeps_the_costly_and_the_small() -> None:
    """One use each: a value survives by its seconds per byte."""
    cache = CostCache(64 << 10)
    for number in range(10):
        cache.put(key(number), bytes(100), 1.0, 60.0)
    for number in range(100, 500):
        cache.put(key(number), bytes(100 if number % 2 else 2000), 0.001 if number % 2 else 0.02, 60.0)

    assert all(cache.get(key(number)) for number in range(10))
    assert cache.bytes > 0.9 * cache.max_bytes


def test_a_scan_cannot_flush_what_is_used() -> None:
    cache, twin = CostCache(64 << 10), LruCache(64 << 10)
    for tier in (cache, twin):
        for _ in range(5):
            for number in range(20):
                if tier.get(key(number)) is None:
                    tier.put(key(number), bytes(1000), 1.0, 60.0)
        for number in range(1000, 1200):
            tier.put(key(number), bytes(1000), 1.0, 60.0)

    assert sum(twin.get(key(number)) is not None for number in range(20)) == 0
    assert sum(cache.get(key(number)) is not None for number in range(20)) >= 15


def test_forgets_what_was_popular_when_popularity_moves() -> None:
    """Ten turnovers after the change the new half of the world holds nearly the whole cache."""
    cache = CostCache(128 << 10)
    draw = random.Random(2)
    for base in (0, 10_000):
        for _ in range(5000):
            number = base + int(draw.random() ** 2 * 100)
            if cache.get(key(number)) is None:
                cache.put(key(number), bytes(1000), 1.0, 60.0)
    entries = [int.from_bytes(slot.key, "little") for slot in cache._table]

    assert sum(number < 10_000 for number in entries) <= 0.2 * len(entries)


def test_remembers_the_frequency_of_what_was_evicted() -> None:
    cache = CostCache(64 << 10)
    often = key(1)
    cache.put(often, bytes(1000), 0.01, 60.0)
    for _ in range(8):
        cache.get(often)
    number = 100
    while often in cache._slots:
        cache.put(key(number), bytes(1000), 1.0, 60.0)
        number += 1

    assert cache._sketch.uses(often) > 2
    assert cache._sketch.uses(key(number - 1)) < 1


def test_numbers_stay_finite_over_many_turnovers() -> None:
    cache = CostCache(16 << 10)
    cache.put(key(0), b"hot", 1.0, 60.0)
    for round_ in range(2000):
        for _ in range(400):
            cache.get(key(0))
        cache.put(key(1 + round_), bytes(500), 1.0, 60.0)

    assert cache.get(key(0)) == b"hot"
    assert all(0 <= slot.recent < 1e200 and 0 <= slot.lasting < 1e200 for slot in cache._table)


def test_saves_more_seconds_than_lru_on_mixed_cost() -> None:
    """The benchmark in small; benchmarks/cache_eviction.py has the figures."""
    draw = random.Random(3)
    weights = [1 / (rank + 1) ** 0.7 for rank in range(2000)]
    costs = [1e-4 * 2 ** draw.uniform(3, 8) for _ in weights]
    requests = draw.choices(range(2000), weights, k=15_000)
    saved = []
    for tier in (CostCache(200 << 10), LruCache(200 << 10)):
        for number in requests:
            if tier.get(key(number)) is None:
                tier.put(key(number), bytes(1536), costs[number], 600.0)
        saved.append(tier.saved_s_total)

    assert saved[0] > 1.3 * saved[1]


@both
def test_shrinking_evicts_at_once_and_growing_keeps(kind: Kind) -> None:
    cache = kind(256 << 10)
    for number in range(100):
        cache.put(key(number), bytes(1000), 1.0, 60.0)
    before = len(cache)
    cache.resize(32 << 10)
    small = len(cache)

    assert 10 < small < before
    assert cache.bytes <= 32 << 10
    assert cache.stats()["evictions_total"] == before - small
    cache.resize(256 << 10)
    for number in range(100, 150):
        cache.put(key(number), bytes(1000), 1.0, 60.0)
    assert len(cache) == small + 50


def test_shrinking_keeps_the_worthiest() -> None:
    cache = CostCache(256 << 10)
    for number in range(100):
        cache.put(key(number), bytes(1000), 1.0 + number, 60.0)
    cache.resize(32 << 10)
    kept = sorted(int.from_bytes(slot.key, "little") for slot in cache._table)

    assert kept == list(range(100 - len(kept), 100))
    assert [cache._table[slot.index] is slot for slot in cache._slots.values()] == [True] * len(kept)


def test_lru_shrinks_by_age() -> None:
    cache = LruCache(256 << 10)
    for number in range(100):
        cache.put(key(number), bytes(1000), 1.0, 60.0)
    cache.get(key(0))
    cache.resize(3 * (1016 + 320))

    assert [number for number in range(100) if cache.get(key(number)) is not None] == [0, 98, 99]
