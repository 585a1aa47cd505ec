"""usearch: its HNSW on one of its number types."""

from __future__ import annotations

from typing import Any

import numpy as np

from paceline.vectors.bench.contestant import Ints, Setup
from paceline.vectors.metric import Floats


class Usearch:
    """`usearch.index.Index`, in memory, saved to a file."""

    unchangeable = ""

    def __init__(self, setup: Setup, kind: str) -> None:
        from usearch.index import Index  # noqa: PLC0415 - wanted by this contestant only

        self.setup = setup
        self.index = f"HNSW {kind}"
        self._file = setup.path / "index.usearch"
        self._index: Any = Index(
            ndim=setup.dimensions,
            metric="ip",
            dtype=kind,
            connectivity=setup.m,
            expansion_add=setup.ef_construction,
        )

    def build(self, vectors: Floats) -> None:
        """Add on all threads."""
        self._index.add(np.arange(len(vectors)), vectors, threads=self.setup.threads)
        self._index.save(self._file)

    def open(self) -> None:
        """Read the file."""
        self._index.load(self._file)

    def set_effort(self, effort: int) -> None:
        """Expansion of the searches that follow."""
        self._index.expansion_search = effort

    def search(self, queries: Floats, k: int) -> Any:
        """One call for all queries; the API gives a single answer to a single query."""
        return self._index.search(queries, k, threads=1).keys

    def rows(self, found: Any, k: int) -> Ints:
        """Its keys are row numbers."""
        keys = np.atleast_2d(np.asarray(found))
        whole = np.full((len(keys), k), -1, np.int32)
        whole[:, : keys.shape[1]] = keys.astype(np.int64)[:, :k]
        return whole

    def held_bytes(self) -> int | None:
        """Its file is its memory, written as it is."""
        return self._file.stat().st_size

    def replace(self, rows: Ints, vectors: Floats) -> None:
        """Removed and added; in memory only."""
        self._index.remove(rows.astype(np.uint64))
        self._index.add(rows.astype(np.uint64), vectors, threads=1)

    def delete(self, rows: Ints) -> None:
        """In memory only."""
        self._index.remove(rows.astype(np.uint64))

    def close(self) -> None:
        """Free it."""
        self._index = None
