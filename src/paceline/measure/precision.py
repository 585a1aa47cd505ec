"""Ends a run when its percentile is known well enough."""

from __future__ import annotations

from pathlib import Path

from paceline.measure.plan import Plan
from paceline.measure.records.record_file import read
from paceline.measure.statistics.sequential import look, next_look


class PrecisionWatch:
    """Looks at the records whenever `sequential` allows another look."""

    def __init__(self, plan: Plan, records: Path) -> None:
        self._stopping = plan.stopping
        self._records = records
        self._next_look = next_look(0)

    def reason(self, done: int) -> str:
        """Why the run may end after so many good answers, or nothing."""
        quantile, precision = self._stopping.quantile, self._stopping.precision
        if precision is None or done < self._next_look:
            return ""
        columns = read(self._records).columns
        latencies = [
            (last - intended) / 1e6
            for last, intended, failure in zip(
                columns.last_ns, columns.intended_ns, columns.failure, strict=True
            )
            if not failure
        ]
        if len(latencies) < self._next_look:
            return ""
        latencies = latencies[: self._next_look]
        self._next_look = next_look(self._next_look)
        if look(latencies, quantile, precision).stop:
            return f"p{100 * quantile:g} is known to within {100 * precision:g} %"
        return ""
