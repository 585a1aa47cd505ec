"""The batches a server ran, as it tells them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

COLUMNS = ("started_at", "rows", "length", "tokens", "busy", "wait_s", "run_s")
"""Order of the numbers of one batch in `GET /admin/batches`."""


@dataclass(frozen=True, slots=True)
class BatchLog:
    """One entry a batch, each array of shape (batches,)."""

    rows: Floats
    length: Floats
    """Padded tokens of each row."""
    busy: Floats
    """Batches that ran when this one started, itself included."""
    run_s: Floats

    def __len__(self) -> int:
        return len(self.run_s)

    @classmethod
    def of(cls, batches: Sequence[Sequence[float]]) -> BatchLog:
        """From rows of `COLUMNS`; those without a run time are left out."""
        table = np.array([row for row in batches if row[6] > 0.0], dtype=np.float64).reshape(-1, len(COLUMNS))
        return cls(table[:, 1], table[:, 2], table[:, 4], table[:, 6])

    def joined(self, other: BatchLog) -> BatchLog:
        """Both, one after the other."""
        return BatchLog(
            *(
                np.concatenate([mine, theirs])
                for mine, theirs in (
                    (self.rows, other.rows),
                    (self.length, other.length),
                    (self.busy, other.busy),
                    (self.run_s, other.run_s),
                )
            )
        )

    def taken(self, at: npt.NDArray[np.intp]) -> BatchLog:
        """The batches at these positions."""
        return BatchLog(self.rows[at], self.length[at], self.busy[at], self.run_s[at])
