"""What every contestant can do, so that all are measured by the same code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.vectors.metric import Floats

Ints = NDArray[np.int32]
WRITTEN_AT_ONCE: Final = 100
"""Records of one call that updates or deletes."""


class Setup(msgspec.Struct, frozen=True):
    """How an index is made, the same for all that can be told so."""

    folder: str
    """Where it lives; it exists, and is the contestant's own."""
    dimensions: int
    m: int = 16
    ef_construction: int = 200
    threads: int = 1
    """Threads that build; a search has one."""

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.folder)


class Contestant(Protocol):
    """An index in a folder over rows 0 to n - 1 of unit vectors, under the inner product.

    `build` fills the folder and leaves the index open; `open` opens one that was built, in another process. `effort` is
    what buys recall: ef, as all of them have a graph.
    """

    index: str
    """What it is, in a few words."""
    unchangeable: str
    """Why it cannot replace or delete vectors; empty if it can."""

    def build(self, vectors: Floats) -> None:
        """Index `vectors` (n, d) and put the index into the folder."""

    def open(self) -> None:
        """Open what `build` left."""

    def set_effort(self, effort: int) -> None:
        """How far the searches that follow look; not timed."""

    def search(self, queries: Floats, k: int) -> Any:
        """The best `k` for `queries` (q, d), in its own form: this, and nothing else, is what is timed."""

    def rows(self, found: Any, k: int) -> Ints:
        """Rows (q, k) of what `search` found; -1 where there were fewer."""

    def held_bytes(self) -> int | None:
        """Bytes of vectors and graph that searches go through; None where that is not told."""

    def replace(self, rows: Ints, vectors: Floats) -> None:
        """Give `rows` (n,) other vectors (n, d), as one call of a user would."""

    def delete(self, rows: Ints) -> None:
        """Delete `rows` (n,), as one call of a user would."""

    def close(self) -> None:
        """Close it; all that was written is in the folder."""


def padded(rows: list[list[int]], k: int) -> Ints:
    """Lists of rows as an array (q, k), -1 where a list ends early."""
    whole = np.full((len(rows), k), -1, np.int32)
    for one, line in zip(rows, whole, strict=True):
        line[: len(one)] = one[:k]
    return whole
