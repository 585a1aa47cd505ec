"""How often a call is tried again. No clock and no sleep of its own, so that both clients share it."""

from __future__ import annotations

import random

import msgspec

from paceline.base.clock import Clock, monotonic
from paceline.base.errors import PacelineError, Rejected


class Retries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Exponential back-off with full jitter; what the server says in `Retry-After` comes first."""

    attempts: int = 3
    """Tries in all, the first included; 1 never tries again."""
    first_wait_s: float = 0.1
    multiplier: float = 2.0
    max_wait_s: float = 10.0
    """No back-off is longer; a longer `Retry-After` is still honoured."""


DEFAULT = Retries()


class Patience:
    """What is left of one call: its time and its tries."""

    def __init__(self, retries: Retries, timeout_s: float, clock: Clock = monotonic) -> None:
        self._retries = retries
        self._clock = clock
        self._deadline_at = clock() + timeout_s
        self._tries = 0

    def left_s(self) -> float:
        """Seconds until the call has to be over; never below a millisecond, since 0 means for ever to some."""
        return max(self._deadline_at - self._clock(), 0.001)

    def pause_s(self, error: PacelineError) -> float:
        """Seconds to wait before the next try. Raises `error` when there is to be none."""
        self._tries += 1
        if not error.retryable or self._tries >= self._retries.attempts:
            raise error
        longest = self._retries.first_wait_s * self._retries.multiplier ** (self._tries - 1)
        pause_s = random.uniform(0, min(longest, self._retries.max_wait_s))  # noqa: S311 - jitter, not a secret
        if isinstance(error, Rejected):
            pause_s += error.retry_after_s
        if self._clock() + pause_s >= self._deadline_at:
            raise error
        return pause_s
