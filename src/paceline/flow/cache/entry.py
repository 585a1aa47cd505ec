"""The form of an entry outside this process: the same bytes on disk and in Redis."""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

_HEADER = struct.Struct("<B3xfd")
"""version, 3 bytes of padding, seconds to make it (f32), end of its life (f64, seconds since the epoch)."""
_VERSION = 1
HEADER_BYTES = _HEADER.size


class Entry(NamedTuple):
    """A value with what the next tier needs to keep it."""

    value: bytes
    expires_at: float
    """Wall clock, since hosts share it."""
    cost_s: float
    """Seconds of compute the value took."""


def encode(value: bytes, expires_at: float, cost_s: float) -> bytes:
    """Header and value."""
    return _HEADER.pack(_VERSION, cost_s, expires_at) + value


def decode(raw: bytes) -> Entry | None:
    """None for what another version, or somebody else, wrote."""
    if len(raw) < HEADER_BYTES:
        return None
    version, cost_s, expires_at = _HEADER.unpack_from(raw)
    if version != _VERSION or not math.isfinite(expires_at) or not 0 <= cost_s < math.inf:
        return None
    return Entry(raw[HEADER_BYTES:], expires_at, cost_s)
