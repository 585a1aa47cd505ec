"""The parts of a process that stand beside its model: state folder, Redis link, limiter, cache."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from paceline.base.errors import ConfigError
from paceline.flow.cache.tiers import Tiers, open_tiers
from paceline.flow.limiter import Limiter
from paceline.flow.quota import Ledger, RedisLedger
from paceline.flow.redis_link import RedisLink
from paceline.settings import Settings


def state_dir(settings: Settings) -> Path:
    """The folder for what survives a restart, made when missing; raises ConfigError when it cannot be."""
    folder = Path(settings.serve.state_dir or "~/.cache/paceline").expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"serve.state_dir = {str(folder)!r}: {error.strerror}; choose a folder this process may write"
        ) from None
    return folder


def open_link(settings: Settings) -> RedisLink | None:
    """The one link to Redis, when any part needs it; connects when first used."""
    if settings.cache.l3.enabled or settings.limits.backend == "redis":
        return RedisLink(settings.redis)
    return None


@asynccontextmanager
async def open_limiter(
    settings: Settings, link: RedisLink | None, host: Ledger | None
) -> AsyncIterator[Limiter]:
    """The limiter with its ledger: Redis, else the `host`'s when several workers share one, else none."""
    ledger = host
    if settings.limits.backend == "redis":
        assert link is not None
        ledger = RedisLedger(link, settings.limits.lease_share, time.monotonic)
    limiter = Limiter(settings.limits, ledger, peers=settings.serve.workers)
    sweeping = asyncio.ensure_future(limiter.run()) if ledger is not None else None
    try:
        yield limiter
    finally:
        if sweeping is not None:
            sweeping.cancel()
        await limiter.close()


@asynccontextmanager
async def open_cache(settings: Settings, link: RedisLink | None) -> AsyncIterator[Tiers | None]:
    """The cache tiers, or None when caching is off."""
    if not settings.cache.enabled:
        yield None
        return
    tiers = open_tiers(settings.cache, folder=state_dir(settings) / "cache", link=link)
    try:
        yield tiers
    finally:
        await tiers.close()
