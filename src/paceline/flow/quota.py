"""Who has used how much of which window: ledgers that hand out leases and never more than the limit.

A window is a minute or an hour of the ledger's wall clock, from its full minute or hour to the next, and the count in
it is exact. A lease is a number of requests a process may let through in that window without asking again.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from typing import Protocol

import msgspec

from paceline.base.clock import Clock
from paceline.flow.recent import Recent
from paceline.flow.redis_link import RedisLink, Script

HOUR_S = 3600


class Grant(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A ledger's answer to one ask."""

    granted: int
    """Requests leased to the asker; 0 when the window is used up."""
    left: int
    """Requests of the window nobody has leased yet."""
    window: int
    """Number of the window: seconds since the epoch // its length, by the ledger's clock."""
    ends_in_s: float
    """Seconds from the moment of the grant to the end of the window."""


class Ledger(Protocol):
    """Counts one deployment's requests. Both calls raise OSError or PacelineError when it cannot be reached."""

    @property
    def peers(self) -> int:
        """Processes known to share this ledger, this one included."""

    async def lease(self, window_key: str, limit: int, want: int, window_s: int) -> Grant:
        """Lease up to `want` requests of the current window; the sum of all leases is at most `limit`."""

    async def give_back(self, window_key: str, window: int, count: int, window_s: int) -> None:
        """Return what was leased and not used; a window that is over is left alone.

        A negative `count` books what was let through without a lease while the ledger was away.
        """


def lease_size(limit: int, used: int, want: int, share: float) -> int:
    """Requests to grant: shrinks with what is left, so that the last ones are not stranded in one process."""
    left = limit - used
    return max(0, min(want, left, max(1, int(left * share))))


class LocalLedger:
    """A ledger in memory, for the limiters of one host: the others reach it through a channel."""

    def __init__(self, share: float, clock: Clock, *, max_keys: int = 100_000) -> None:
        """`share` is `LimitPolicy.lease_share`; `clock` gives seconds since the epoch."""
        self.peers = 1
        self._share = share
        self._clock = clock
        self._used: Recent[str, list[int]] = Recent(max_keys, keep_s=HOUR_S)

    async def lease(self, window_key: str, limit: int, want: int, window_s: int) -> Grant:
        """See `Ledger.lease`; never waits."""
        now = self._clock()
        count = self._count(window_key, window_s, now)
        granted = lease_size(limit, count[1], want, self._share)
        count[1] += granted
        ends_in_s = (count[0] + 1) * window_s - now
        return Grant(granted, max(0, limit - count[1]), count[0], ends_in_s)

    async def give_back(self, window_key: str, window: int, count: int, window_s: int) -> None:
        """See `Ledger.give_back`; never waits."""
        held = self._count(window_key, window_s, self._clock())
        if held[0] == window:
            held[1] = max(0, held[1] - count)

    def __len__(self) -> int:
        return len(self._used)

    def _count(self, window_key: str, window_s: int, now: float) -> list[int]:
        """[window number, requests leased in it] of the current window."""
        current = int(now // window_s)
        count = self._used.get(window_key)
        if count is None:
            count = [current, 0]
            self._used.put(window_key, count, now)
        elif count[0] < current:  # a clock that was set back stays in the window it had reached
            count[:] = (current, 0)
        return count


# One hash per caller and window size; Redis' own clock decides the window, so hosts need not agree on the time.
# ARGV: limit, want, window in seconds, share, count to give back, window it belongs to.
_BOOK = Script("""
local time = redis.call('TIME')
local span_s = tonumber(ARGV[3])
local window = math.floor(time[1] / span_s)
local held = redis.call('HMGET', KEYS[1], 'window', 'used')
local used = 0
if held[1] and tonumber(held[1]) >= window then
  window = tonumber(held[1])
  used = tonumber(held[2])
end
if tonumber(ARGV[6]) == window then used = math.max(0, used - ARGV[5]) end
local left = ARGV[1] - used
local granted = math.max(0, math.min(ARGV[2], left, math.max(1, math.floor(left * ARGV[4]))))
local ends_in_us = ((window + 1) * span_s - time[1]) * 1000000 - time[2]
redis.call('HSET', KEYS[1], 'window', window, 'used', used + granted)
redis.call('PEXPIRE', KEYS[1], math.ceil(ends_in_us / 1000) + 1000)
return {granted, math.max(0, left - granted), window, ends_in_us}
""")

# Who shares the ledger: one sorted set of process names by the time they were last heard of.
# ARGV: name, seconds after which a silent process is forgotten.
_MEET = Script("""
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
""")

_MEET_EVERY_S = 10.0
_FORGET_PEER_S = 60
_PEERS_KEY = b"limit-peers"


class RedisLedger:
    """A ledger in Redis, for all hosts. A Redis that lost its memory has forgotten the current windows."""

    def __init__(self, link: RedisLink, share: float, clock: Clock) -> None:
        """`share` is `LimitPolicy.lease_share`; `clock` in seconds, only differences count."""
        self.peers = 1
        self._link = link
        self._share = str(share).encode()
        self._clock = clock
        self._name = secrets.token_hex(8)
        self._meet_at = -1.0
        self._meeting: asyncio.Task[None] | None = None

    async def lease(self, window_key: str, limit: int, want: int, window_s: int) -> Grant:
        """See `Ledger.lease`. Raises ConnectionError or TimeoutError."""
        now = self._clock()
        if now >= self._meet_at:
            self._meet_at = now + _MEET_EVERY_S
            self._meeting = asyncio.create_task(self._meet())
        granted, left, window, ends_in_us = await self._link.eval(
            _BOOK, [_key(window_key)], [limit, want, window_s, self._share, 0, -1]
        )
        return Grant(granted, left, window, ends_in_us / 1e6)

    async def give_back(self, window_key: str, window: int, count: int, window_s: int) -> None:
        """See `Ledger.give_back`. Raises ConnectionError or TimeoutError."""
        await self._link.eval(_BOOK, [_key(window_key)], [0, 0, window_s, self._share, count, window])

    async def _meet(self) -> None:
        """Tell the others of this process, and learn how many there are."""
        name = f"{self._name}-{os.getpid()}"  # a forked child is another process
        try:
            self.peers = await self._link.eval(_MEET, [_PEERS_KEY], [name, _FORGET_PEER_S])
        except OSError:
            self._meet_at = -1.0  # what was known stays the best guess; ask again with the next lease


def _key(window_key: str) -> bytes:
    return b"limit:" + window_key.encode("utf-8", "surrogatepass")
