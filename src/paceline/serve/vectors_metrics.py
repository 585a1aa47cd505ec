"""What the server counts of collections of vectors, whichever path was asked."""

from __future__ import annotations

from typing import Any

from paceline.base.instruments import Histogram, Registry
from paceline.base.vectors_records import Queried, Upserted


class VectorMetrics:
    """The instruments of all routes of vectors of one process."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._seconds: dict[str, Histogram] = {}
        self._upserted = registry.counter(
            "paceline_vector_upserted_total", "Records that were sent and are safe."
        )
        self._cached = registry.counter(
            "paceline_vector_cached_total", "Queries and searches answered from memory, at once."
        )
        self._partial = registry.counter(
            "paceline_vector_partial_total", "Queries and searches answered without some of the shards."
        )

    def answered(self, operation: str, answer: Any, seconds: float, *, cached: bool) -> None:
        """Count one answer; `seconds` since the head of its request."""
        known = self._seconds.get(operation)
        if known is None:
            known = self._seconds[operation] = self._registry.histogram(
                "paceline_vector_operation_seconds",
                "From the head of a request to its answer, by operation; failures are not counted.",
                operation=operation,
            )
        known.record(seconds)
        if cached:
            self._cached.value += 1
        if isinstance(answer, Queried):
            if answer.partial:
                self._partial.value += 1
        elif isinstance(answer, Upserted):
            self._upserted.value += answer.upserted_count
