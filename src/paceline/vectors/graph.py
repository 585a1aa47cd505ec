"""A graph of near neighbours over the rows of one segment, as plain arrays, which may be memory maps: see `growing`."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.vectors.compiled import records as of

Ints = NDArray[np.int32]


class Graph(msgspec.Struct, frozen=True, eq=False):
    """Neighbours of each row on the base level and, for few rows, on the levels above; -1 where there are no more."""

    base: Ints  # (n, 2M)
    upper: Ints  # (links of all rows on all upper levels, M)
    upper_at: Ints  # (n,) where a row's upper levels begin in `upper`; level 1 first
    entry: int  # the row to start from; -1 if there are no rows
    levels: int  # above the base level

    def __len__(self) -> int:
        return len(self.base)

    @property
    def held_bytes(self) -> int:
        """Bytes of the arrays."""
        return self.base.nbytes + self.upper.nbytes + self.upper_at.nbytes

    def record(self) -> NDArray[np.int64]:
        """By which compiled functions know the graph; holds addresses, so keep `self` as long."""
        record = np.zeros(of.GRAPH, np.int64)
        record[of.BASE], record[of.WIDTH] = self.base.ctypes.data, self.base.shape[1]
        record[of.UPPER], record[of.UPPER_WIDTH] = self.upper.ctypes.data, self.upper.shape[1]
        record[of.UPPER_AT], record[of.ENTRY], record[of.LEVELS] = (
            self.upper_at.ctypes.data,
            self.entry,
            self.levels,
        )
        record[of.LIMIT] = len(self)
        return record
