"""The tiers as one cache: look up in order of nearness, fill upwards, write downwards behind the caller."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from paceline.base.clock import Clock
from paceline.base.timings import Tier
from paceline.flow.cache.entry import Entry, decode, encode
from paceline.flow.cache.flight import SingleFlight
from paceline.flow.cache.health import TierHealth
from paceline.flow.cache.l1 import CostCache, Memory
from paceline.flow.cache.l3 import RedisCache
from paceline.flow.cache.lru import LruCache
from paceline.flow.cache.policy import CachePolicy, L1Policy

if TYPE_CHECKING:
    from paceline.flow.cache.l2 import DiskCache
    from paceline.flow.redis_link import RedisLink

Make = Callable[[], Awaitable[tuple[bytes, float]]]
"""Makes the value anew; also tells how many seconds of compute it took."""

_JITTER = 0.1
"""Lives end up to this share early, spread by key: results made together (a warm-up, a deployment) would otherwise
all expire in the same second and be made anew together. Never late, so a TTL is a promise."""


class _Found(NamedTuple):
    value: bytes
    cost_s: float
    tier: Tier
    stale: bool


class Tiers:
    """L1 in this process, L2 on this host, L3 among hosts; each may be missing, fail, and be skipped.

    Keys must name everything the value depends on (model, revision, precision, input), best as a digest of it.
    Times to live are wall-clock, because the tiers outlive the process. Belongs to one event loop.
    """

    def __init__(
        self,
        policy: CachePolicy,
        l1: Memory | None,
        l2: DiskCache | None = None,
        l3: RedisCache | None = None,
        clock: Clock = time.time,
    ) -> None:
        """See `open_tiers`. `l1` must read the same clock."""
        self._l1 = l1
        self._l2 = l2
        self._l3 = l3
        self._clock = clock
        self._flights: SingleFlight[_Found] = SingleFlight()
        self._misses = {"l1": 0, "l2": 0, "l3": 0}
        self._hits = {"l2": 0, "l3": 0}
        self._saved_s = 0.0
        self._former_l1: dict[str, float] = {}
        """Counts of memory tiers that another eviction has replaced: counters never go back."""
        self.stale_total = 0
        self.refresh_errors_total = 0
        self.policy = policy
        self.apply(policy)

    def apply(self, policy: CachePolicy) -> None:
        """Take over what may change while running: `enabled`, `l1.max_bytes`, `l1.eviction`, `ttl.*`, `l3.budget_ms`."""
        before, self.policy = self.policy.l1, policy
        if self._l1 is not None:
            if policy.l1.eviction != before.eviction:
                self._former_l1 = self._l1_totals()
                self._l1 = open_memory(policy.l1, self._clock)
            elif policy.l1.max_bytes != before.max_bytes:
                self._l1.resize(policy.l1.max_bytes)
            self._l1.stale_s = policy.ttl.stale_s
        if self._l3 is not None:
            self._l3.budget_s = policy.l3.budget_ms / 1e3

    def peek(self, key: bytes) -> bytes | None:
        """The fresh value if this process has it; about 0.5 us. A miss is not counted: `fetch` will."""
        if self._l1 is None or not self.policy.enabled:
            return None
        return self._l1.get(key)

    def may_bring(self, key: bytes) -> bool:
        """Whether `fetch` may answer a key that `peek` does not know without making it: lower tiers, flights."""
        lower = self._l2 is not None or self._l3 is not None or self.policy.ttl.stale_s > 0
        return self.policy.enabled and (lower or key in self._flights)

    async def fetch(self, key: bytes, make: Make, ttl_s: float) -> tuple[bytes, Tier]:
        """The value from the nearest tier, or from `make`, and where it came from.

        Callers of one key share one look-up and one `make`, which is cancelled when the last of them leaves. What
        `make` raises reaches them all and nothing is kept. With `ttl.stale_s`, a value just over its time is returned
        at once and `make` runs behind the caller, whose own deadline it must then not depend on.
        """
        if not self.policy.enabled:
            return (await make())[0], "bypass"
        found = self._near(key)
        if found is None:
            found, shared = await self._flights.run(key, lambda: self._far(key, make, ttl_s))
            if shared:
                self._saved_s += found.cost_s
                return found.value, "flight"
        if found.stale:
            self.stale_total += 1
            self._refresh(key, make, ttl_s)
        return found.value, found.tier

    async def close(self) -> None:
        """Cancel what runs; write what L2 still has queued. The Redis link is its owner's to close."""
        await self._flights.close()
        if self._l2 is not None:
            await asyncio.to_thread(self._l2.close)

    def health(self) -> dict[str, TierHealth]:
        """State of each tier; a tier that is off or failing is skipped and never an error."""
        off = TierHealth("off", "switched off by the settings")
        on = self.policy.enabled
        return {
            "l1": TierHealth("ok") if on and self._l1 is not None else off,
            "l2": self._l2.health() if on and self._l2 is not None else off,
            "l3": self._l3.health() if on and self._l3 is not None else off,
        }

    def stats(self) -> dict[str, float]:
        """Sizes now, counts since the start. `saved_s_total` is compute callers did not have to wait for."""
        stats: dict[str, float] = {
            "saved_s_total": self._saved_s + self._l1_totals().get("saved_s_total", 0.0),
            "flights_total": self._flights.flights_total,
            "flights": len(self._flights),
            "shared_total": self._flights.shared_total,
            "stale_total": self.stale_total,
            "refresh_errors_total": self.refresh_errors_total,
        }
        for name, tier in (("l1", self._l1), ("l2", self._l2), ("l3", self._l3)):
            if tier is None:
                continue
            counts = tier.stats() | (self._l1_totals() if name == "l1" else {})
            stats |= {f"{name}_{key}": value for key, value in counts.items() if key != "saved_s_total"}
            stats[f"{name}_misses_total"] = self._misses[name]
            if name in self._hits:
                stats[f"{name}_hits_total"] = self._hits[name]
        return stats

    def _l1_totals(self) -> dict[str, float]:
        """Counters of the memory tier and of those before it."""
        counts = self._l1.stats() if self._l1 is not None else {}
        return {
            key: value + self._former_l1.get(key, 0)
            for key, value in counts.items()
            if key.endswith("_total")
        }

    # -- look up ----------------------------------------------------------------------------------------------

    def _near(self, key: bytes) -> _Found | None:
        """What this host has, without waiting."""
        if self._l1 is not None:
            value = self._l1.get(key)
            if value is not None:
                return _Found(value, 0.0, "l1", stale=False)
            self._misses["l1"] += 1
            if self.policy.ttl.stale_s > 0:
                value = self._l1.stale(key)
                if value is not None:
                    return _Found(value, 0.0, "l1", stale=True)
        if self._l2 is None or key in self._flights:
            return None
        entry = self._usable(self._l2.get(key))
        return self._lifted(key, entry, "l2")

    async def _far(self, key: bytes, make: Make, ttl_s: float) -> _Found:
        """What other hosts have, or a new value; runs once for all callers."""
        if self._l3 is not None:
            raw = await self._l3.get(key)
            entry = self._usable(raw)
            found = self._lifted(key, entry, "l3")
            if found is not None:
                if self._l2 is not None and raw is not None:
                    self._l2.put(key, raw)
                return found
        return await self._make(key, make, ttl_s)

    async def _make(self, key: bytes, make: Make, ttl_s: float) -> _Found:
        value, cost_s = await make()
        life_s = ttl_s * (1.0 - _JITTER * key[-1] / 255)
        if self._l1 is not None:
            self._l1.put(key, value, cost_s, life_s)
        if self._l2 is not None or self._l3 is not None:
            raw = encode(value, self._clock() + life_s, cost_s)
            if self._l2 is not None:
                self._l2.put(key, raw)
            if self._l3 is not None:
                self._l3.put(key, raw, life_s + self.policy.ttl.stale_s)
        return _Found(value, cost_s, "miss", stale=False)

    def _refresh(self, key: bytes, make: Make, ttl_s: float) -> None:
        """Make the value anew behind the caller, unless that is under way."""
        task = self._flights.launch(key, lambda: self._make(key, make, ttl_s))
        if task is not None:
            task.add_done_callback(self._refreshed)

    def _refreshed(self, task: asyncio.Task[_Found]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.refresh_errors_total += 1

    def _usable(self, raw: bytes | None) -> Entry | None:
        """The entry if it may still be served, be it stale."""
        entry = decode(raw) if raw is not None else None
        if entry is None or entry.expires_at + self.policy.ttl.stale_s <= self._clock():
            return None
        return entry

    def _lifted(self, key: bytes, entry: Entry | None, tier: Tier) -> _Found | None:
        """Count the look-up in a lower tier and keep what it found in L1, with what is left of its life."""
        if entry is None:
            self._misses[tier] += 1
            return None
        self._hits[tier] += 1
        self._saved_s += entry.cost_s
        left_s = entry.expires_at - self._clock()
        if self._l1 is not None:
            self._l1.put(key, entry.value, entry.cost_s, left_s)
        return _Found(entry.value, entry.cost_s, tier, stale=left_s <= 0)


def open_memory(policy: L1Policy, clock: Clock = time.time) -> Memory:
    """An empty memory tier."""
    kind = CostCache if policy.eviction == "cost" else LruCache
    return kind(policy.max_bytes, clock)


def open_tiers(
    policy: CachePolicy,
    *,
    folder: Path | None = None,
    link: RedisLink | None = None,
    clock: Clock = time.time,
) -> Tiers:
    """Tiers as the settings want them. `folder` is where L2 lives when `l2.path` is empty; `link` is for L3.

    Never fails for the folder's or Redis's sake: see `Tiers.health`.
    """
    l1: Memory | None = None
    l2: DiskCache | None = None
    l3: RedisCache | None = None
    if policy.enabled and policy.l1.enabled:
        l1 = open_memory(policy.l1, clock)
    if policy.enabled and policy.l2.enabled:
        from paceline.flow.cache.l2 import DiskCache  # noqa: PLC0415 - only a server with a disk tier loads LMDB

        path = Path(policy.l2.path).expanduser() if policy.l2.path else folder
        assert path is not None, "L2 is on, so its folder must be given"
        l2 = DiskCache(path, policy.l2.max_bytes)
    if policy.enabled and policy.l3.enabled:
        assert link is not None, "L3 is on, so a Redis link must be given"
        l3 = RedisCache(link, policy.l3.budget_ms / 1e3)
    return Tiers(policy, l1, l2, l3, clock)
