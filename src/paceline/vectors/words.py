"""Texts in sorted order, in one run of bytes: found by bisection without being read as a whole, so they may be mapped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray


class Words(msgspec.Struct, frozen=True, eq=False):
    """Word i is bytes `ends[i - 1]` to `ends[i]`. UTF-8 sorts as its characters do."""

    text: NDArray[np.uint8]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, words: Iterable[str]) -> Self:
        """Those that differ, sorted."""
        coded = sorted({word.encode() for word in words})
        lengths = np.fromiter((len(word) for word in coded), np.int64, len(coded))
        return cls(np.frombuffer(b"".join(coded), np.uint8), np.cumsum(lengths))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, code: int) -> str:
        return self._bytes(code).decode()

    def codes(self) -> dict[str, int]:
        """All words and their codes."""
        return {self[code]: code for code in range(len(self))}

    def find(self, word: str) -> int:
        """Its code, -1 if it is not there."""
        code = self.before(word)
        return code if code < len(self) and self._bytes(code) == word.encode() else -1

    def before(self, word: str, *, or_equal: bool = False) -> int:
        """How many words are less than `word`, or equal to it."""
        wanted, low, high = word.encode(), 0, len(self)
        while low < high:
            middle = (low + high) // 2
            held = self._bytes(middle)
            if held < wanted or (or_equal and held == wanted):
                low = middle + 1
            else:
                high = middle
        return low

    def _bytes(self, code: int) -> bytes:
        start = int(self.ends[code - 1]) if code else 0
        return self.text[start : int(self.ends[code])].tobytes()
