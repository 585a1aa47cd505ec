"""The plain twin of the memory tier: what was used last stays."""

from __future__ import annotations

import time
from collections import OrderedDict

from paceline.base.clock import Clock

ENTRY_BYTES = 320
"""What CPython 3.11 spends on an entry beside key and value; measured as for L1."""


class LruCache:
    """Same interface and the same bound in bytes as `CostCache`; knows nothing of cost."""

    def __init__(self, max_bytes: int, clock: Clock = time.time, stale_s: float = 0.0) -> None:
        self.max_bytes = max_bytes
        self.stale_s = stale_s
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[bytes, float, float]] = OrderedDict()
        self.bytes = 0
        self.hits_total = 0
        self.evictions_total = 0
        self.expired_total = 0
        self.declined_total = 0
        self.saved_s_total = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> bytes | None:
        """The value if it is there and fresh; it becomes the last to leave."""
        entry = self._entries.get(key)
        if entry is None or entry[1] <= self._clock():
            return None
        self._entries.move_to_end(key)
        self.hits_total += 1
        self.saved_s_total += entry[2]
        return entry[0]

    def stale(self, key: bytes) -> bytes | None:
        """The value if it is there and at most `stale_s` over its time."""
        entry = self._entries.get(key)
        if entry is None or entry[1] + self.stale_s <= self._clock():
            return None
        return entry[0]

    def put(self, key: bytes, value: bytes, cost_s: float, ttl_s: float) -> None:
        """Keep the value; declined only when it is larger than the cache or over its time."""
        need = len(key) + len(value) + ENTRY_BYTES
        if need > self.max_bytes or ttl_s + self.stale_s <= 0:
            self.declined_total += 1
            return
        known = self._entries.pop(key, None)
        if known is not None:
            self.bytes -= len(key) + len(known[0]) + ENTRY_BYTES
        now = self._clock()
        self._make_room(need, now)
        self._entries[key] = (value, now + ttl_s, cost_s)
        self.bytes += need

    def resize(self, max_bytes: int) -> None:
        """Take another bound; what was used longest ago leaves."""
        self.max_bytes = max_bytes
        self._make_room(0, self._clock())

    def _make_room(self, need: int, now: float) -> None:
        while self.bytes + need > self.max_bytes:
            old_key, (old_value, expires_at, _) = self._entries.popitem(last=False)
            self.bytes -= len(old_key) + len(old_value) + ENTRY_BYTES
            if expires_at + self.stale_s <= now:
                self.expired_total += 1
            else:
                self.evictions_total += 1

    def stats(self) -> dict[str, float]:
        """Sizes now, counts and seconds since the start."""
        return {
            "bytes": self.bytes,
            "entries": len(self._entries),
            "hits_total": self.hits_total,
            "evictions_total": self.evictions_total,
            "expired_total": self.expired_total,
            "declined_total": self.declined_total,
            "saved_s_total": self.saved_s_total,
        }
