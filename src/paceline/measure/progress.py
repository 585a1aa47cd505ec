"""What a run looks like while it goes on, ten times a second."""

from __future__ import annotations

import msgspec

from paceline.measure.report import SloRow


class Progress(msgspec.Struct, frozen=True):
    """One moment. Rates and `recent_*` are of the last second, the other percentiles of the run so far."""

    phase: str
    """Name of the stage, or `drain` while the last answers are awaited."""
    elapsed_s: float
    total_s: float | None
    """When the schedule ends; None when only the number of requests ends it."""
    scheduled: int | None
    sent: int
    done: int
    failed: int
    in_flight: int
    offered_per_s: float | None
    done_per_s: float
    recent_p50_ms: float | None
    recent_p95_ms: float | None
    recent_p99_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    failures: dict[str, int]
    lag_p99_ms: float | None
    tokens_per_s: float | None = None
    slo: list[SloRow] = []
    note: str = ""
    """For instance which probe of a saturation search this is."""
