"""L3, the Redis tier: shared by hosts, skipped when it is slow or away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from paceline.flow.cache.health import TierHealth

if TYPE_CHECKING:
    from paceline.flow.redis_link import RedisLink

_PREFIX = b"cache:"


class RedisCache:
    """Entries in Redis, over the link the limiter uses too. Never raises; what fails is counted.

    The link's breaker decides when Redis is left alone (`skipped_total`); a look-up that is merely slow costs its
    caller `budget_s` at most.
    """

    def __init__(self, link: RedisLink, budget_s: float) -> None:
        self._link = link
        self.budget_s = budget_s
        """May be changed while running."""
        self.errors_total = 0
        self.skipped_total = 0

    async def get(self, key: bytes) -> bytes | None:
        """The stored bytes; None when there are none or Redis did not answer in time."""
        try:
            answer = self._link.gather_get(_PREFIX + key, self.budget_s)
        except OSError:
            self.skipped_total += 1
            return None
        try:
            return await answer
        except OSError:
            self.errors_total += 1
            return None

    def put(self, key: bytes, raw: bytes, ttl_s: float) -> None:
        """Store behind the caller; needs a running event loop."""
        try:
            self._link.set(_PREFIX + key, raw, ttl_s).add_done_callback(self._stored)
        except OSError:
            self.skipped_total += 1

    def health(self) -> TierHealth:
        """What the link says."""
        link = self._link.health()
        if link["status"] == "ok":
            return TierHealth("ok")
        return TierHealth(
            "failing", f"Redis at {link['address']} is left alone: {link.get('last_error', '')}"
        )

    def stats(self) -> dict[str, float]:
        """Failures, and calls not even tried."""
        return {"errors_total": self.errors_total, "skipped_total": self.skipped_total}

    def _stored(self, answer: asyncio.Future[Any]) -> None:
        if not answer.cancelled() and answer.exception() is not None:
            self.errors_total += 1
