"""What one run of the trace showed at one setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, inf, nan

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """One live run, or a simulated one. The requests of two runs of one trace pair by their place in `latency_ms`."""

    latency_ms: NDArray[np.float64] | Sequence[float]
    """One entry per request of the trace, in its order, from the intended start; NaN where it failed."""
    sent: int
    """Requests that left for the server, at most the length of `latency_ms`."""
    failed: int
    duration_s: float
    cpu_s: float | None = None
    """CPU seconds of the server during the run; None where they cannot be read."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What the server said of itself, under the names of objectives: `hit_percent`, `memory_gb`, `engine_s`."""

    def __post_init__(self) -> None:
        """Refuses latencies that are not a row of numbers and runs without duration (ValueError)."""
        latency = np.asarray(self.latency_ms, dtype=np.float64)
        if latency.ndim != 1:
            message = f"latency_ms has {latency.ndim} dimensions, it needs one: an entry per request"
            raise ValueError(message)
        if not self.duration_s > 0.0:
            message = f"duration_s is {self.duration_s}, a run takes more than 0 s"
            raise ValueError(message)
        object.__setattr__(self, "latency_ms", latency)

    @property
    def answered_ms(self) -> NDArray[np.float64]:
        """Latencies of the answered requests, in the order of the trace."""
        latency = np.asarray(self.latency_ms)
        answered: NDArray[np.float64] = latency[np.isfinite(latency)]
        return answered

    def p(self, q: float) -> float:
        """The q-quantile (0 to 1) of the answered requests, ms, as reports show it; infinite without an answer."""
        answered = self.answered_ms
        return float(np.quantile(answered, q)) if answered.size else inf

    def p_of_all(self, q: float) -> float:
        """The q-quantile of all requests, ms, a failed one being slower than every answer.

        So a server that refuses its slowest requests is not the faster one for it. Infinite when failures reach q.
        """
        answered = np.sort(self.answered_ms)
        place = (len(self.latency_ms) - 1) * q
        below, above = int(place), ceil(place - 1e-9)
        if above >= answered.size:
            return inf
        return float(answered[below] + (answered[above] - answered[below]) * (place - below))

    @property
    def mean_ms(self) -> float:
        """Of the answered requests; infinite without an answer."""
        answered = self.answered_ms
        return float(answered.mean()) if answered.size else inf

    @property
    def max_ms(self) -> float:
        """Of the answered requests; infinite without an answer."""
        answered = self.answered_ms
        return float(answered.max()) if answered.size else inf

    @property
    def error_percent(self) -> float:
        """Share of the sent requests that failed; 100 when none was sent, as nothing was served."""
        return 100.0 * self.failed / self.sent if self.sent else 100.0

    @property
    def rate_per_s(self) -> float:
        """Requests answered per second."""
        return self.answered_ms.size / self.duration_s

    def good(self, limit_ms: float | None = None) -> int:
        """Requests answered below `limit_ms`; without a limit, all that were answered."""
        answered = self.answered_ms
        return answered.size if limit_ms is None else int(np.count_nonzero(answered < limit_ms))

    def goodput_percent(self, limit_ms: float | None = None) -> float:
        """Share of all requests of the trace that were good."""
        return 100.0 * self.good(limit_ms) / len(self.latency_ms) if len(self.latency_ms) else 0.0

    def goodput_per_s(self, limit_ms: float | None = None) -> float:
        """Good requests per second."""
        return self.good(limit_ms) / self.duration_s

    @property
    def busy_s(self) -> float | None:
        """CPU seconds of the server, or else the seconds its engine says it worked (`metrics["engine_s"]`)."""
        return self.metrics.get("engine_s") if self.cpu_s is None else self.cpu_s

    def busy_s_per_good(self, limit_ms: float | None = None) -> float:
        """CPU or engine seconds per good request; infinite when none was good, NaN when the seconds are not known."""
        if self.busy_s is None:
            return nan
        good = self.good(limit_ms)
        return self.busy_s / good if good else inf
