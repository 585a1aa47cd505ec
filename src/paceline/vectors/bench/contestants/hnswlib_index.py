"""hnswlib: the graph by its inventors, on float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from paceline.vectors.bench.contestant import Ints, Setup
from paceline.vectors.metric import Floats


class Hnswlib:
    """`hnswlib.Index`, in memory, saved to a file."""

    unchangeable = ""
    index = "HNSW float32"

    def __init__(self, setup: Setup, kind: str) -> None:  # noqa: ARG002 - there is one kind
        import hnswlib  # noqa: PLC0415 - wanted by this contestant only

        self.setup = setup
        self._file = setup.path / "index.hnswlib"
        self._index: Any = hnswlib.Index("ip", setup.dimensions)

    def build(self, vectors: Floats) -> None:
        """Add on all threads."""
        self._index.init_index(len(vectors), M=self.setup.m, ef_construction=self.setup.ef_construction)
        self._index.add_items(vectors, num_threads=self.setup.threads)
        self._index.save_index(str(self._file))

    def open(self) -> None:
        """Read the file."""
        self._index.load_index(str(self._file))

    def set_effort(self, effort: int) -> None:
        """Ef of the searches that follow."""
        self._index.set_ef(effort)

    def search(self, queries: Floats, k: int) -> Any:
        """One call for all queries."""
        return self._index.knn_query(queries, k, num_threads=1)[0]

    def rows(self, found: Any, k: int) -> Ints:
        """Its labels are row numbers."""
        return np.asarray(found, np.int32)[:, :k]

    def held_bytes(self) -> int | None:
        """Its file is its memory, written as it is."""
        return self._file.stat().st_size

    def replace(self, rows: Ints, vectors: Floats) -> None:
        """In place; in memory only."""
        self._index.add_items(vectors, rows, num_threads=1)

    def delete(self, rows: Ints) -> None:
        """Marked, one by one; in memory only."""
        for row in rows.tolist():
            self._index.mark_deleted(row)

    def close(self) -> None:
        """Free it."""
        self._index = None
