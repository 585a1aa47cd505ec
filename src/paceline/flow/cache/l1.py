"""L1, the memory tier: keeps what saves most compute per byte."""

from __future__ import annotations

import math
import time
from typing import Protocol

import msgspec

from paceline.base.clock import Clock
from paceline.flow.cache.sketch import Sketch

ENTRY_BYTES = 400
"""What CPython 3.11 spends on an entry beside key and value: objects, numbers, dict slot, list slot. Measured: 300 to
330 by tracemalloc, which does not see that the allocator rounds each object up to 16 bytes (75 more)."""

_RECENT_WEIGHT = 6.0
"""What a use counts at once; it fades within a turnover, as in LRU."""
_LASTING_TURNOVERS = 16.0
"""Half-life of the other part of a use, which counts 1: the frequency. A turnover is one operation per entry."""
_CANDIDATES = 16
_EXPIRED_LOOKS = 2
_RESCALE_TURNOVERS = 400.0
_SKETCH_SHARE = 128
_SKETCH_COUNTERS = 1 << 22
"""At most, so that ageing the sketch never takes longer than a few milliseconds."""


class Memory(Protocol):
    """What both memory tiers offer. `ttl_s` may be 0 or less for a value that is stale already."""

    stale_s: float
    """How long after its end a value is kept for `stale`. May be changed while running."""

    def get(self, key: bytes) -> bytes | None:
        """The value if it is there and fresh; counts as a use."""
        ...

    def stale(self, key: bytes) -> bytes | None:
        """The value if it is there and at most `stale_s` over its time; does not count as a use."""
        ...

    def put(self, key: bytes, value: bytes, cost_s: float, ttl_s: float) -> None:
        """Offer a value that took `cost_s` seconds to make; the tier may decline."""
        ...

    def resize(self, max_bytes: int) -> None:
        """Take another bound; what is over it leaves at once."""
        ...

    def stats(self) -> dict[str, float]:
        """Counters and sizes."""
        ...


class _Slot(msgspec.Struct, gc=False):
    key: bytes
    value: bytes
    expires_at: float
    cost_s: float
    recent: float
    """Uses, each weighed by the gain of its time: dividing by today's gain decays them all."""
    lasting: float
    index: int

    def worth(self, recent_share: float, lasting_share: float) -> float:
        """Uses x seconds to make / bytes; the shares undo the gains of today."""
        uses = self.recent * recent_share + self.lasting * lasting_share
        return uses * self.cost_s / (len(self.value) + ENTRY_BYTES)


def _sketch(max_bytes: int) -> Sketch:
    return Sketch(min(max_bytes // _SKETCH_SHARE // 2, _SKETCH_COUNTERS))


class CostCache:
    """Bounded in bytes: keys, values, the measured overhead of each entry, and the sketch.

    An entry is worth its uses x seconds to make / bytes. A use counts twice: much and briefly (recency) and little
    and long (frequency); either alone loses to plain LRU under some drift, or to plain frequency under none. Instead
    of decaying all counts, later uses weigh more. To make room, 16 entries evenly spread over the table, another 16
    each time, are compared and the least worthy leaves; a newcomer worth less than that is declined, so a scan of
    values used once cannot flush the cache. A sketch remembers the frequency of what left or was declined.
    Not thread-safe: belongs to one event loop.
    """

    def __init__(self, max_bytes: int, clock: Clock = time.time, stale_s: float = 0.0) -> None:
        self.max_bytes = max_bytes
        self.stale_s = stale_s
        self._clock = clock
        self._slots: dict[bytes, _Slot] = {}
        self._table: list[_Slot] = []
        self._sketch = _sketch(max_bytes)
        self._recent_gain = 1.0
        self._lasting_gain = 1.0
        self._operations = 0
        self._turnovers = 0.0
        self._halve_at = _LASTING_TURNOVERS
        self._hand = 0
        self._expiry_hand = 0
        self.bytes = self._sketch.size_bytes
        self.hits_total = 0
        self.puts_total = 0
        self.evictions_total = 0
        self.expired_total = 0
        self.declined_total = 0
        self.saved_s_total = 0.0

    def __len__(self) -> int:
        return len(self._table)

    def get(self, key: bytes) -> bytes | None:
        """The value if it is there and fresh; about 0.3 us."""
        slot = self._slots.get(key)
        if slot is None or slot.expires_at <= self._clock():
            return None
        slot.recent += self._recent_gain
        slot.lasting += self._lasting_gain
        self.hits_total += 1
        self.saved_s_total += slot.cost_s
        return slot.value

    def stale(self, key: bytes) -> bytes | None:
        """The value if it is there and at most `stale_s` over its time."""
        slot = self._slots.get(key)
        if slot is None or slot.expires_at + self.stale_s <= self._clock():
            return None
        return slot.value

    def put(self, key: bytes, value: bytes, cost_s: float, ttl_s: float) -> None:
        """Offer a value; what is worth less than the least worthy of 16 others is declined."""
        now = self._clock()
        self._age()
        self._drop_expired(now)
        if ttl_s + self.stale_s <= 0:
            self.declined_total += 1
            return
        lasting = self._lasting_gain
        known = self._slots.get(key)
        if known is not None:
            recent, lasting = known.recent + self._recent_gain, known.lasting + lasting
            self._remove(known)
        else:
            recent, lasting = self._recent_gain, lasting * (1.0 + self._sketch.uses(key))
        slot = _Slot(key, value, now + ttl_s, cost_s, recent, lasting, 0)
        if not self._make_room(slot):
            self.declined_total += 1
            return
        slot.index = len(self._table)
        self._table.append(slot)
        self._slots[key] = slot
        self.bytes += len(key) + len(value) + ENTRY_BYTES

    def resize(self, max_bytes: int) -> None:
        """Take another bound; the worthiest stay. Starts a new memory of what left before, of the size that suits.

        Sorts when it must evict: a tenth of a second for 100,000 entries.
        """
        self.bytes -= self._sketch.size_bytes
        self.max_bytes = max_bytes
        self._sketch = _sketch(max_bytes)
        self.bytes += self._sketch.size_bytes
        if self.bytes <= max_bytes:
            return
        recent_share, lasting_share = _RECENT_WEIGHT / self._recent_gain, 1.0 / self._lasting_gain
        leaving = sorted(self._table, key=lambda slot: slot.worth(recent_share, lasting_share), reverse=True)
        while self.bytes > max_bytes:
            self._remove(leaving.pop())
            self.evictions_total += 1

    def stats(self) -> dict[str, float]:
        """Sizes now, counts and seconds since the start."""
        return {
            "bytes": self.bytes,
            "entries": len(self._table),
            "hits_total": self.hits_total,
            "evictions_total": self.evictions_total,
            "expired_total": self.expired_total,
            "declined_total": self.declined_total,
            "saved_s_total": self.saved_s_total,
        }

    # -- who leaves -------------------------------------------------------------------------------------------

    def _make_room(self, slot: _Slot) -> bool:
        """Evict until `slot` fits; False when it is too large or not worth it."""
        need = len(slot.key) + len(slot.value) + ENTRY_BYTES
        if need > self.max_bytes - self._sketch.size_bytes:
            return False
        recent_share = _RECENT_WEIGHT / self._recent_gain
        lasting_share = 1.0 / self._lasting_gain
        while self.bytes + need > self.max_bytes:
            stride = max(1, len(self._table) // _CANDIDATES)
            self._hand += 1
            candidates = self._table[self._hand % stride :: stride]
            candidates.append(slot)
            least, loser = math.inf, slot
            for (
                candidate
            ) in candidates:  # neither min(key=...) nor `worth`: a call for each would take twice the time
                uses = candidate.recent * recent_share + candidate.lasting * lasting_share
                worth = uses * candidate.cost_s / (len(candidate.value) + ENTRY_BYTES)
                # Of equals the newcomer, which is last, stays.
                if worth < least:
                    least, loser = worth, candidate
            self._sketch.remember(loser.key, loser.lasting * lasting_share)
            if loser is slot:
                return False
            self._remove(loser)
            self.evictions_total += 1
        return True

    def _remove(self, slot: _Slot) -> None:
        """Take it out; the last of the table moves into its place."""
        del self._slots[slot.key]
        last = self._table.pop()
        if last is not slot:
            self._table[slot.index] = last
            last.index = slot.index
        self.bytes -= len(slot.key) + len(slot.value) + ENTRY_BYTES

    def _drop_expired(self, now: float) -> None:
        """Look at two entries at each put, so that dead bytes go even when they were precious."""
        for _ in range(min(_EXPIRED_LOOKS, len(self._table))):
            self._expiry_hand = (self._expiry_hand + 1) % len(self._table)
            slot = self._table[self._expiry_hand]
            if slot.expires_at + self.stale_s <= now:
                self._remove(slot)
                self.expired_total += 1

    def _age(self) -> None:
        """Let the next uses weigh more than all before: half-lives of 1 and of 16 turnovers."""
        self.puts_total += 1
        operations = self.hits_total + self.puts_total
        # 64 more, or a small cache would forget everything within a few operations; at most 64 turnovers at once
        # (thousands of hits between two puts), or the gain would overflow.
        self._turnovers += min(64.0, (operations - self._operations) / (len(self._table) + 64))
        self._operations = operations
        self._recent_gain = 2.0**self._turnovers
        self._lasting_gain = 2.0 ** (self._turnovers / _LASTING_TURNOVERS)
        if self._turnovers >= self._halve_at:
            self._sketch.halve()
            self._halve_at += _LASTING_TURNOVERS
        if self._turnovers > _RESCALE_TURNOVERS:
            self._rescale()

    def _rescale(self) -> None:
        """Start the gains at 1 again, before they overflow."""
        for slot in self._table:
            slot.recent /= self._recent_gain
            slot.lasting /= self._lasting_gain
        self._halve_at -= self._turnovers
        self._turnovers = 0.0
        self._recent_gain = self._lasting_gain = 1.0
