"""A plain closed loop: users who each send the next request when the last was answered and they have thought.

Its latencies start when a request is sent, so a server that stalls is asked less and looks better than it is. Good
for a first look; `paceline measure` will not be so forgiving.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import numpy as np

from paceline.base.errors import PacelineError
from paceline.client import AsyncClient


class ClosedLoop:
    """What `users` callers saw. Read it while it runs."""

    def __init__(self, client: AsyncClient, requests: Iterator[list[str]], *, think_s: float = 0.0) -> None:
        """`requests` are taken by all users in turn; the loop ends with them."""
        self._client = client
        self._requests = requests
        self._think_s = think_s
        self._started_at = time.monotonic()
        self.latencies_s: list[float] = []
        self.texts = 0
        self.hits = 0
        """Requests answered from a cache tier or another caller's run."""
        self.failed = 0
        self.last_error: PacelineError | None = None
        self.batch_rows: list[int] = []

    async def run(self, users: int, *, keep: dict[int, np.ndarray] | None = None) -> None:
        """Until the requests are used up; `keep` receives each request's vectors by its position."""
        self._started_at = time.monotonic()
        numbered = enumerate(self._requests)
        await asyncio.gather(*(self._user(numbered, keep) for _ in range(users)))

    async def _user(
        self, numbered: Iterator[tuple[int, list[str]]], keep: dict[int, np.ndarray] | None
    ) -> None:
        for position, texts in numbered:
            sent_at = time.monotonic()
            try:
                answer = await self._client.embed(texts)
            except PacelineError as error:
                self.failed += 1
                self.last_error = error
            else:
                self.latencies_s.append(time.monotonic() - sent_at)
                self.texts += len(texts)
                self.hits += answer.timings.cache not in {"miss", "bypass"}
                if answer.timings.batch_rows:
                    self.batch_rows.append(answer.timings.batch_rows)
                if keep is not None:
                    keep[position] = answer.vectors
            if self._think_s:
                await asyncio.sleep(self._think_s)

    @property
    def elapsed_s(self) -> float:
        """Since the start."""
        return max(time.monotonic() - self._started_at, 1e-9)

    @property
    def requests(self) -> int:
        """Answered and failed."""
        return len(self.latencies_s) + self.failed

    def percentile_ms(self, percent: float) -> float:
        """Of all latencies so far; 0 before the first."""
        return float(np.percentile(self.latencies_s, percent)) * 1e3 if self.latencies_s else 0.0
