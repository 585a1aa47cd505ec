"""Counts and troubles of all shards, for those who want them at once and often: `Glance`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from paceline.vectors.fan_out import Lane, each
from paceline.vectors.shard import Shard

Seen = tuple[int, dict[str, str]]
"""Records of a shard, and its troubles."""

_TIMEOUT_S: Final = 0.25
"""Whoever looks is not to wait for a shard that hangs."""
_EVERY_S: Final = 1.0


class Glance:
    """What was seen last is kept while nothing is written, for a second."""

    def __init__(self) -> None:
        self._kept: tuple[float, int, dict[str, Seen], dict[str, str]] = (0.0, -1, {}, {})

    def look(self, lanes: Mapping[str, Lane], version: int) -> tuple[dict[str, Seen], dict[str, str]]:
        """What is seen of each shard, and the shards that are missing, with reasons."""
        looked_at, then, found, missing = self._kept
        now = time.monotonic()
        if then != version or now - looked_at > _EVERY_S:
            found, missing = each(lanes, dict.fromkeys(lanes, _seen), _TIMEOUT_S)
            self._kept = (now, version, found, missing)
        return found, missing


def _seen(shard: Shard) -> Seen:
    return shard.records, shard.troubles
