"""Where the time of one request went. Measured once, shown in headers, metrics and load records."""

from __future__ import annotations

from typing import Literal

import msgspec

Tier = Literal["miss", "l1", "l2", "l3", "flight", "bypass"]
"""Which tier answered: `flight` shared another caller's run, `bypass` means caching was off for this call."""


class Timings(msgspec.Struct, gc=False):
    """Seconds spent in each stage of one request; the slowest text of the request counts.

    Made by the service on the way and mutable there; read-only for everyone else.
    """

    tokenize_s: float = 0.0
    queue_s: float = 0.0
    """From entering the batcher to the start of the batch's run (includes the deliberate batch wait)."""
    batch_wait_s: float = 0.0
    """The part of `queue_s` in which an engine was idle and the batcher waited for company."""
    run_s: float = 0.0
    """Engine time of the batch that carried the request."""
    total_s: float = 0.0
    batch_rows: int = 0
    cache: Tier = "miss"

    def server_timing(self) -> str:
        """As a W3C `Server-Timing` header value (durations in milliseconds)."""
        return (
            f'cache;desc="{self.cache}", tok;dur={self.tokenize_s * 1e3:.3f}, queue;dur={self.queue_s * 1e3:.3f}, '
            f'wait;dur={self.batch_wait_s * 1e3:.3f}, run;dur={self.run_s * 1e3:.3f};desc="{self.batch_rows} rows", '
            f"total;dur={self.total_s * 1e3:.3f}"
        )
