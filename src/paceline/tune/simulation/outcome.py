"""What a simulated run showed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Outcome:
    """One trace through one station."""

    latency_s: npt.NDArray[np.float64]
    """Of each request, from its arrival to its answer; NaN where it was refused."""
    refused: int
    """Requests."""
    hits: int
    """Texts that the cache answered."""
    flights: int
    """Texts that shared the run of an equal one."""
    rows: int
    """Texts that an engine ran."""
    batches: int
    engine_s: float
    """Seconds that lanes were held by batches, over all lanes."""
    makespan_s: float
    """Instant of the last answer; 0 without any."""

    def p(self, q: float) -> float:
        """Latency quantile of the answered requests in seconds, between order statistics; NaN without any."""
        answered = self.latency_s[~np.isnan(self.latency_s)]
        return float(np.quantile(answered, q)) if len(answered) else float("nan")

    @property
    def mean_s(self) -> float:
        """Mean latency of the answered requests; NaN without any."""
        answered = self.latency_s[~np.isnan(self.latency_s)]
        return float(answered.mean()) if len(answered) else float("nan")

    @property
    def refused_share(self) -> float:
        """Refused requests over all."""
        return self.refused / len(self.latency_s)

    @property
    def mean_rows(self) -> float:
        """Texts per batch; 0 without any batch."""
        return self.rows / self.batches if self.batches else 0.0
