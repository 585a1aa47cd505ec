"""Settings of the one Redis connection the cache and the limiter share."""

from __future__ import annotations

from typing import Annotated

import msgspec

from paceline.base.knob import knob


class RedisPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Redis is."""

    url: Annotated[str, knob("redis://, rediss:// or unix:// address.", secret=True)] = "redis://127.0.0.1:6379/0"
    prefix: Annotated[str, knob("Put before every key, so that deployments can share a server.", min_length=1)] = "paceline:"
    timeout_ms: Annotated[float, knob("Longest a command may take.", gt=0, le=60_000, unit="ms")] = 250.0
