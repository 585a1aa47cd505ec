"""A short memory of how often keys were asked for after their values were evicted."""

from __future__ import annotations

_STEPS = 16
"""Counts are kept in sixteenths, so that a decayed single use is still told from none."""
_HALVED = bytes(count // 2 for count in range(256))


class Sketch:
    """Two rows of byte counters (a count-min sketch that keeps maxima); collisions can only raise a count.

    Counts saturate at 15.9 uses: enough to tell what deserves its place back.
    """

    def __init__(self, counters: int) -> None:
        """`counters` per row is rounded down to a power of two; the rows take twice that in bytes."""
        self._mask = (1 << (max(1, counters).bit_length() - 1)) - 1
        self._first = bytearray(self._mask + 1)
        self._second = bytearray(self._mask + 1)

    @property
    def size_bytes(self) -> int:
        """Both rows."""
        return 2 * (self._mask + 1)

    def uses(self, key: bytes) -> float:
        """How often `key` was used, as last remembered."""
        mixed = hash(key)  # of bytes: well mixed, and computed once per object
        return min(self._first[mixed & self._mask], self._second[mixed >> 32 & self._mask]) / _STEPS

    def remember(self, key: bytes, uses: float) -> None:
        """Keep the larger of `uses` and what is known."""
        count = min(255, int(uses * _STEPS))
        mixed = hash(key)
        first, second = mixed & self._mask, mixed >> 32 & self._mask
        self._first[first] = max(self._first[first], count)
        self._second[second] = max(self._second[second], count)

    def halve(self) -> None:
        """Age everything by one half-life; about 1 ns per counter."""
        self._first = self._first.translate(_HALVED)
        self._second = self._second.translate(_HALVED)
