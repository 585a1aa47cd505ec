"""The last batches that ran, numbered, for whoever comes back for the new ones."""

from __future__ import annotations

from collections import deque
from itertools import islice

from paceline.flow.batcher import BatchRecord


class BatchRing:
    """Keeps `size` batches; the older ones are forgotten."""

    def __init__(self, size: int = 8192) -> None:
        self._records: deque[BatchRecord] = deque(maxlen=size)
        self._next = 0

    def add(self, record: BatchRecord) -> None:
        """Keep one more."""
        self._records.append(record)
        self._next += 1

    def since(self, number: int) -> tuple[int, list[BatchRecord]]:
        """The number of the next batch, and those from `number` on that are still here, in order of their ends.

        A number beyond the next is from before a restart, and then all are new.
        """
        first = self._next - len(self._records)
        skipped = number - first if number <= self._next else 0
        return self._next, list(islice(self._records, max(0, skipped), None))
