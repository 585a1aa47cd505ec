"""Which row has a record, by its name: sorted hashes and their rows, found by bisection in a memory map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.vectors.record import Key


class Directory(msgspec.Struct, frozen=True, eq=False):
    """Rows by hash; rows of equal hashes rise."""

    hashes: NDArray[np.uint64]  # (n,) rising
    rows: NDArray[np.int32]  # (n,)

    @classmethod
    def of(cls, hashes: NDArray[np.uint64]) -> Self:
        """Of the hash of each row."""
        order = np.argsort(hashes, kind="stable")
        return cls(hashes[order], order.astype(np.int32))

    def find(
        self, keys: Sequence[Key], hashes: NDArray[np.uint64], key_of: Callable[[int], Key]
    ) -> NDArray[np.int64]:
        """The last row of each of `keys`, -1 where there is none. `key_of` tells who a row really is."""
        found = np.full(len(keys), -1, np.int64)
        if len(self.hashes) == 0:
            return found
        ends = np.searchsorted(self.hashes, hashes, side="right")
        for i in np.flatnonzero((ends > 0) & (self.hashes[np.maximum(ends, 1) - 1] == hashes)).tolist():
            place = int(ends[i]) - 1
            while place >= 0 and self.hashes[place] == hashes[i]:
                row = int(self.rows[place])
                if key_of(row) == keys[i]:
                    found[i] = row
                    break
                place -= 1
        return found
