"""Qdrant Edge: Qdrant's engine in this process, a shard in a folder."""

from __future__ import annotations

from typing import Any, Final

from paceline.vectors.bench.contestant import Ints, Setup, padded
from paceline.vectors.metric import Floats

_LOADED_AT_ONCE: Final = 2_000
_OVERSAMPLED: Final = 2.0
"""Times k that are scored again on float32."""


class Qdrant:
    """One shard, optimised into one segment; `int8` quantises in its own way, and re-scores."""

    unchangeable = ""

    def __init__(self, setup: Setup, kind: str) -> None:
        import qdrant_edge  # noqa: PLC0415 - wanted by this contestant only

        self.api: Any = qdrant_edge
        self.setup, self.kind = setup, kind
        self.index = "HNSW float32" if kind == "f32" else "HNSW int8, re-scored on float32"
        self._folder = setup.path / "shard"
        self._shard: Any = None
        self._params: Any = None

    def _config(self) -> Any:
        api, setup = self.api, self.setup
        quantised = None
        if self.kind == "int8":
            quantised = api.ScalarQuantizationConfig(
                api.ScalarType.Int8, quantile=0.99, memory=api.Memory.Pinned
            )
        return api.EdgeConfig(
            vectors=api.EdgeVectorParams(setup.dimensions, api.Distance.Dot),
            hnsw_config=api.HnswIndexConfig(
                setup.m, setup.ef_construction, 10, max_indexing_threads=setup.threads
            ),
            quantization_config=quantised,
            optimizers=api.EdgeOptimizersConfig(
                default_segment_number=1, indexing_threshold=1, max_segment_size=1 << 30
            ),
            max_search_threads=1,
        )

    def build(self, vectors: Floats) -> None:
        """Load all, then let it optimise until it is done."""
        self._folder.mkdir()
        self._shard = self.api.EdgeShard.create(str(self._folder), self._config())
        for start in range(0, len(vectors), _LOADED_AT_ONCE):
            self._upsert(range(start, len(vectors)), vectors[start : start + _LOADED_AT_ONCE])
        self._shard.optimize()
        self._shard.flush()

    def _upsert(self, rows: Any, vectors: Floats) -> None:
        points = [self.api.Point(row, vector) for row, vector in zip(rows, vectors.tolist(), strict=False)]
        self._shard.update(self.api.UpdateOperation.upsert_points(points))

    def open(self) -> None:
        """Load the shard."""
        self._shard = self.api.EdgeShard.load(str(self._folder), self._config())

    def set_effort(self, effort: int) -> None:
        """hnsw_ef of the searches that follow."""
        quantised = None
        if self.kind == "int8":
            quantised = self.api.QuantizationSearchParams(rescore=True, oversampling=_OVERSAMPLED)
        self._params = self.api.SearchParams(hnsw_ef=effort, quantization=quantised)

    def search(self, queries: Floats, k: int) -> Any:
        """Its batch, which plans all queries as a whole."""
        api, params = self.api, self._params
        asked = [
            api.QueryRequest(k, query=api.Query.Nearest(query), params=params) for query in queries.tolist()
        ]
        if len(asked) == 1:
            return [self._shard.query(asked[0])]
        return self._shard.query_batch(api.QueryBatchRequest(asked))

    def rows(self, found: Any, k: int) -> Ints:
        """Its ids are row numbers."""
        return padded([[int(point.id) for point in one] for one in found], k)

    def held_bytes(self) -> int | None:
        """It does not tell."""
        return None

    def replace(self, rows: Ints, vectors: Floats) -> None:
        """Into its write-ahead log."""
        self._upsert(rows.tolist(), vectors)

    def delete(self, rows: Ints) -> None:
        """Into its write-ahead log."""
        self._shard.update(self.api.UpdateOperation.delete_points(rows.tolist()))

    def close(self) -> None:
        """Close the shard."""
        self._shard.close()
