"""Many byte strings in two arrays: where each begins, and all of them end to end. The arrays may be memory maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

_TAKEN_AT_ONCE: Final = 65_536


class Packed(msgspec.Struct, frozen=True, eq=False):
    """Byte strings by number; string i is `octets[at[i]:at[i + 1]]`."""

    at: NDArray[np.uint64]  # (n + 1,)
    octets: NDArray[np.uint8]

    @classmethod
    def of(cls, items: Sequence[bytes]) -> Self:
        """Pack `items`."""
        at = np.fromiter(accumulate(map(len, items), initial=0), np.uint64, len(items) + 1)
        return cls(at, np.frombuffer(b"".join(items), np.uint8))

    def __len__(self) -> int:
        return len(self.at) - 1

    def __getitem__(self, row: int) -> bytes:
        at = self.at.data  # whose elements are Python's numbers, in a third of the time of numpy's
        return bytes(self.octets.data[at[row] : at[row + 1]])

    def texts(self, rows: Iterable[int]) -> list[str]:
        """The strings of `rows`, which are UTF-8."""
        at, octets = self.at.data, self.octets.data
        return [octets[at[row] : at[row + 1]].tobytes().decode() for row in rows]

    def __iter__(self) -> Iterator[bytes]:
        memory, ends = self.octets.data, self.at.tolist()
        return (bytes(memory[ends[i] : ends[i + 1]]) for i in range(len(self)))

    def taken(self, rows: NDArray[Any]) -> Self:
        """The strings of `rows`, in that order, without a step in Python for each."""
        starts, lengths = self.at[rows], self.at[rows + 1] - self.at[rows]
        at = np.zeros(len(rows) + 1, np.uint64)
        np.cumsum(lengths, out=at[1:])
        octets = np.empty(int(at[-1]), np.uint8)
        for first in range(0, len(rows), _TAKEN_AT_ONCE):
            part = slice(first, first + _TAKEN_AT_ONCE)
            begin, end = int(at[first]), int(at[min(first + _TAKEN_AT_ONCE, len(rows))])
            moved = starts[part].astype(np.int64) - at[:-1][part].astype(np.int64)  # old place minus new
            octets[begin:end] = self.octets[
                np.arange(begin, end) + np.repeat(moved, lengths[part].astype(np.int64))
            ]
        return type(self)(at, octets)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The strings of all `parts`, one after another."""
        begins = np.cumsum([0, *(len(part.octets) for part in parts)]).astype(np.uint64)
        ats = [part.at[:-1] + begin for part, begin in zip(parts, begins, strict=False)]
        return cls(np.concatenate([*ats, begins[-1:]]), np.concatenate([part.octets for part in parts]))
