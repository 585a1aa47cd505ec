"""Milvus Lite: Milvus in a local folder, through the embedded engine that its own documentation offers.

pymilvus reaches the same engine over gRPC, and costs several times as much a query. What a search costs here is not its
graph: each call goes over all primary keys in Python, to see which rows are current, whatever ef is.
"""

from __future__ import annotations

from typing import Any, Final

from paceline.vectors.bench.contestant import Ints, Setup, padded
from paceline.vectors.metric import Floats

_COLLECTION: Final = "vectors"
_LOADED_AT_ONCE: Final = 2_000


class Milvus:
    """A collection under HNSW, of float32 (`flat`) or of its own bytes (`sq`)."""

    unchangeable = ""

    def __init__(self, setup: Setup, kind: str) -> None:
        import milvus_lite  # noqa: PLC0415 - wanted by this contestant only

        self.api: Any = milvus_lite
        self.setup, self.kind = setup, kind
        self.index = "HNSW float32" if kind == "flat" else "HNSW_SQ, its own bytes"
        self._base: Any = milvus_lite.MilvusLite(str(setup.path / "milvus.db"))
        self._collection: Any = None
        self._effort = 0

    def build(self, vectors: Floats) -> None:
        """Insert all, then index and load."""
        kinds = self.api.DataType
        fields = [
            self.api.FieldSchema(name="id", dtype=kinds.INT64, is_primary=True),
            self.api.FieldSchema(name="vector", dtype=kinds.FLOAT_VECTOR, dim=self.setup.dimensions),
        ]
        schema = self.api.CollectionSchema(fields=fields)
        self._collection = self._base.create_collection(_COLLECTION, schema)
        for start in range(0, len(vectors), _LOADED_AT_ONCE):
            part = vectors[start : start + _LOADED_AT_ONCE]
            self._collection.insert(_records(range(start, start + len(part)), part))
        self._collection.flush()  # what is not flushed is scanned, whatever the index
        params = {"M": self.setup.m, "efConstruction": self.setup.ef_construction}
        index = {"flat": "HNSW", "sq": "HNSW_SQ"}[self.kind]
        self._collection.create_index("vector", {"index_type": index, "metric_type": "IP", "params": params})
        self._collection.load()

    def open(self) -> None:
        """Load the collection."""
        self._collection = self._base.get_collection(_COLLECTION)
        self._collection.load()

    def set_effort(self, effort: int) -> None:
        """Of the searches that follow: ef."""
        self._effort = effort

    def search(self, queries: Floats, k: int) -> Any:
        """One call for all queries; nothing but ids is asked for."""
        return self._collection.search(
            list(queries), top_k=k, metric_type="IP", output_fields=["id"], search_params={"ef": self._effort}
        )

    def rows(self, found: Any, k: int) -> Ints:
        """Its ids are row numbers."""
        return padded([[int(hit["id"]) for hit in one] for one in found], k)

    def held_bytes(self) -> int | None:
        """It does not tell."""
        return None

    def replace(self, rows: Ints, vectors: Floats) -> None:
        """Its upsert."""
        self._collection.upsert(_records(rows.tolist(), vectors))

    def delete(self, rows: Ints) -> None:
        """By id."""
        self._collection.delete(rows.tolist())

    def close(self) -> None:
        """Close the folder."""
        self._base.close()


def _records(rows: Any, vectors: Floats) -> list[dict[str, Any]]:
    return [{"id": row, "vector": vector} for row, vector in zip(rows, vectors.tolist(), strict=True)]
