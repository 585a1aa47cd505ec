"""Random numbers by counting: the one for an output token follows from its seed and its place, and from nothing else.

So the same seed gives the same text whatever else is in the batch, however often a sequence was preempted, and
however many tokens a step drew.
"""

from __future__ import annotations

import secrets
from typing import Final

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio, odd: its multiples visit all 64-bit numbers."""


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) with 53 random bits for output token `position` (from 0); any int is a seed."""
    return (_mix(_mix(seed) + (position + 1) * _GOLDEN) >> 11) * 2.0**-53


def choice_seed(seed: int | None, index: int) -> int:
    """The 64-bit seed of choice `index` of a request: choices differ, and choice 0 has the request's own seed.

    Without a seed the choice gets one that nobody can foresee.
    """
    if seed is None:
        return secrets.randbits(64)
    return seed & _MASK if index == 0 else _mix(seed ^ _mix(index))


def _mix(number: int) -> int:
    """Scramble 64 bits so that each depends on all (the finaliser of splitmix64)."""
    number = (number + _GOLDEN) & _MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)
