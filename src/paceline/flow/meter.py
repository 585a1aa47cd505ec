"""One window of one caller, as one process sees it: what it may still let through without asking."""

from __future__ import annotations

import asyncio
import math

from paceline.flow.quota import Grant

_TERM_S = 0.1
"""A lease is meant to last this long: short enough to strand little, long enough that round trips do not count."""
_GROWTH = 4
"""A lease is at most this times the last one."""
_RECHECK_S = 0.25
"""A used-up window is asked for again after this: others hand back what they did not use."""
_RETRY_S = 1.0
"""A ledger that was away is asked again after this."""


class Meter:
    """Counts down a lease. Knows no ledger: `Limiter` carries asks and answers between the two."""

    __slots__ = (
        "_last",
        "_lent",
        "_recheck_at",
        "_seen",
        "_stocked_at",
        "elsewhere",
        "flight",
        "key",
        "left",
        "limit",
        "usable_until",
        "waiting",
        "window",
        "window_ends_at",
        "window_s",
    )

    def __init__(self, key: str, limit: int, window_s: int) -> None:
        self.key = key
        self.limit = limit
        self.window_s = window_s
        self.left = 0
        """Requests in hand."""
        self.elsewhere = 0
        """Requests of the window nobody had leased when the ledger was last asked."""
        self.usable_until = -math.inf
        """When what is in hand, or known, is over."""
        self.window = -1
        self.window_ends_at = -math.inf
        self.flight: asyncio.Task[None] | None = None
        """The ask that is under way."""
        self.waiting = 0
        """Requests that wait for it."""
        self._last = 1
        self._stocked_at = -math.inf
        self._recheck_at = -math.inf
        self._lent = -1
        """What this process lent itself in this window while the ledger was away; -1 when it is not."""
        self._seen = -1

    def open(self, now: float) -> None:
        """Begin the current window with the whole limit: for a process that shares with nobody."""
        self.window = int(now // self.window_s)
        self.window_ends_at = self.usable_until = (self.window + 1.0) * self.window_s
        self.left = self.limit
        self._recheck_at = math.inf

    def refuses(self, now: float) -> bool:
        """Whether the window is used up as far as is known."""
        return self.left <= 0 and now < self.usable_until and now < self._recheck_at

    def needs_lease(self, now: float) -> bool:
        """Whether the ledger must be asked before anything passes."""
        return (self.left <= 0 or now >= self.usable_until) and not self.refuses(now)

    def want(self, now: float) -> int:
        """How many to ask for."""
        elapsed_s = max(now - self._stocked_at, 1e-6)
        return max(1, self.waiting, min(_GROWTH * self._last, round(self._last * _TERM_S / elapsed_s)))

    @property
    def debt(self) -> int:
        """Requests let through in `window` that the ledger does not know of."""
        return max(0, self._lent - self.left)

    def settle(self) -> None:
        """The ledger was told of the debt."""
        self._lent = self.left

    def accept(self, grant: Grant, asked_at: float, now: float) -> None:
        """Take the ledger's answer. Its time counts from the ask, so that a slow answer shortens it."""
        self.left = grant.granted
        self.elsewhere = grant.left
        self.window = grant.window
        self.window_ends_at = self.usable_until = asked_at + grant.ends_in_s
        self._recheck_at = -math.inf if grant.granted else now + _RECHECK_S
        self._last = max(1, grant.granted)
        self._stocked_at = now
        self._lent = -1
        self._seen = -1

    def fall_back(self, now: float, peers: int) -> None:
        """The ledger is away: go on with this process's share of what was left, and ask again soon."""
        window = int(now // self.window_s)
        if self._lent < 0 or window != self.window:
            known = self.elsewhere if window == self.window else self.limit
            self.left = self._lent = min(known, max(1, known // peers))
            self.elsewhere = 0
            self.window = window
            self.window_ends_at = (window + 1.0) * self.window_s
        self.usable_until = min(self.window_ends_at, now + _RETRY_S)
        self._recheck_at = self.usable_until

    def idle(self) -> bool:
        """Whether nothing was used since the last time this was asked."""
        seen, self._seen = self._seen, self.left
        return seen == self.left

    def returnable(self, now: float) -> bool:
        """Whether something is in hand that is the ledger's."""
        return self.left > 0 and self._lent < 0 and now < self.usable_until

    def empty(self) -> int:
        """Take everything out of hand, to give it back."""
        count, self.left = self.left, 0
        self.elsewhere += count
        return count
