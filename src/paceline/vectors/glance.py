"""Counts and troubles of all shards, and how far they look, for those who want it at once and often: `Glance`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import msgspec

from paceline.vectors.fan_out import Lane, each
from paceline.vectors.shard import Shard

_TIMEOUT_S: Final = 0.25
"""Whoever looks is not to wait for a shard that hangs."""
_EVERY_S: Final = 1.0


class Seen(msgspec.Struct, frozen=True):
    """What is seen of a shard."""

    records: int
    troubles: dict[str, str]
    default_ef: int


_NOTHING: Final[tuple[float, int, dict[str, Seen], dict[str, str]]] = (0.0, -1, {}, {})


class Glance:
    """What was seen last is kept while nothing is written, for a second."""

    def __init__(self) -> None:
        self._kept = _NOTHING

    def look(self, lanes: Mapping[str, Lane], version: int) -> tuple[dict[str, Seen], dict[str, str]]:
        """What is seen of each shard, and the shards that are missing, with reasons."""
        looked_at, then, found, missing = self._kept
        now = time.monotonic()
        if then != version or now - looked_at > _EVERY_S:
            found, missing = each(lanes, dict.fromkeys(lanes, _seen), _TIMEOUT_S)
            self._kept = (now, version, found, missing)
        return found, missing

    def forget(self) -> None:
        """Look anew when asked next."""
        self._kept = _NOTHING

    @property
    def farthest(self) -> int:
        """The largest default ef that was seen last; 0 of none."""
        _, _, found, _ = self._kept
        return max((seen.default_ef for seen in found.values()), default=0)


def _seen(shard: Shard) -> Seen:
    return Seen(shard.records, shard.troubles, shard.default_ef)
