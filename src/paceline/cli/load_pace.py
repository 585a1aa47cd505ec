"""What is said of a long load to those who have no terminal: a line now and then, with rate and time left."""

from __future__ import annotations

import sys
from typing import Final

EVERY_S: Final = 5.0


class LoadPace:
    """Counts what has arrived; a line at most every `EVERY_S` seconds."""

    def __init__(self, total: int, now: float) -> None:
        self.arrived = 0
        self._total = total
        self._started_at = self._said_at = now
        self._to_terminal = sys.stderr.isatty()

    def line(self, records: int, skipped: int, now: float) -> str | None:
        """The line to say after `records` arrived now and `skipped` before; None: not yet, or a bar tells it."""
        self.arrived = records + skipped
        if self._to_terminal or now - self._said_at < EVERY_S:
            return None
        self._said_at = now
        rate = records / (now - self._started_at)
        left = f", {(self._total - self.arrived) / rate:,.0f} s left" if rate else ""
        return f"{self.arrived:,} of {self._total:,} records, {rate:,.0f}/s{left}"
