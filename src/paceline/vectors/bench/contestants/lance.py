"""LanceDB: a table of Lance files."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from paceline.vectors.bench.contestant import Ints, Setup, padded
from paceline.vectors.metric import Floats

_TABLE: Final = "vectors"
_REFINED: Final = 3
"""Times k that are scored again on float32, where the index holds less."""


class Lance:
    """A table under an HNSW index, of float32 (`flat`) or of its own bytes (`sq`)."""

    unchangeable = ""

    def __init__(self, setup: Setup, kind: str) -> None:
        import lancedb  # noqa: PLC0415 - wanted by this contestant only

        self.setup, self.kind = setup, kind
        self.index = f"IVF_HNSW_{kind.upper()}, one partition" + (", refined" if kind == "sq" else "")
        self._base: Any = lancedb.connect(str(setup.path / "lance"))
        self._table: Any = None
        self._effort = 0

    def build(self, vectors: Floats) -> None:
        """Write the table, then its index."""
        from lancedb import index  # noqa: PLC0415

        self._table = self._base.create_table(_TABLE, self._arrow(np.arange(len(vectors)), vectors))
        kind = {"flat": index.HnswFlat, "sq": index.HnswSq}[self.kind]
        config = kind(
            distance_type="dot", num_partitions=1, m=self.setup.m, ef_construction=self.setup.ef_construction
        )
        self._table.create_index("vector", config=config)

    def _arrow(self, rows: Any, vectors: Floats) -> Any:
        import pyarrow as pa  # noqa: PLC0415

        flat = pa.array(np.ascontiguousarray(vectors).ravel())
        lists = pa.FixedSizeListArray.from_arrays(flat, self.setup.dimensions)
        return pa.table({"id": pa.array(np.asarray(rows, np.int64)), "vector": lists})

    def open(self) -> None:
        """Open the table."""
        self._table = self._base.open_table(_TABLE)

    def set_effort(self, effort: int) -> None:
        """Of the searches that follow: ef."""
        self._effort = effort

    def search(self, queries: Floats, k: int) -> Any:
        """A call for each query: its API takes several at once, and is no quicker for it."""
        return [self._one(query, k) for query in queries]

    def _one(self, query: Any, k: int) -> Any:
        refined = _REFINED if self.kind == "sq" else 1
        asked = self._table.search(query).distance_type("dot").ef(max(self._effort, refined * k)).nprobes(1)
        if refined > 1:
            asked = asked.refine_factor(refined)
        return asked.select(["id", "_distance"]).limit(k).to_arrow()  # without it, it warns at every search

    def rows(self, found: Any, k: int) -> Ints:
        """Its column `id` holds row numbers."""
        return padded([one["id"].to_pylist() for one in found], k)

    def held_bytes(self) -> int | None:
        """It does not tell."""
        return None

    def replace(self, rows: Ints, vectors: Floats) -> None:
        """A merge by id, which is a new version of the table."""
        merge = self._table.merge_insert("id").when_matched_update_all()
        merge.execute(self._arrow(rows, vectors))

    def delete(self, rows: Ints) -> None:
        """By a predicate on id."""
        self._table.delete(f"id IN ({', '.join(map(str, rows.tolist()))})")

    def close(self) -> None:
        """It keeps nothing open that would have to be closed."""
        self._table = None
