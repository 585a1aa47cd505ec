"""Milvus Lite: Milvus in a local file, through pymilvus."""

from __future__ import annotations

from typing import Any, Final

from paceline.vectors.bench.contestant import Ints, Setup, padded
from paceline.vectors.metric import Floats

_COLLECTION: Final = "vectors"
_LOADED_AT_ONCE: Final = 2_000
_PATIENCE_S: Final = 3_600.0
"""Its client tries again what took long, and then fails as it is already done."""


class Milvus:
    """A collection under HNSW, of float32 (`flat`) or of its own bytes (`sq`)."""

    unchangeable = ""

    def __init__(self, setup: Setup, kind: str) -> None:
        import pymilvus  # noqa: PLC0415 - wanted by this contestant only

        self.api: Any = pymilvus
        self.setup, self.kind = setup, kind
        self.index = "HNSW float32" if kind == "flat" else "HNSW_SQ, its own bytes"
        self._client: Any = pymilvus.MilvusClient(str(setup.path / "milvus.db"))
        self._effort = 0

    def build(self, vectors: Floats) -> None:
        """Insert all, then index and load."""
        fields = self.api.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        fields.add_field("id", self.api.DataType.INT64, is_primary=True)
        fields.add_field("vector", self.api.DataType.FLOAT_VECTOR, dim=self.setup.dimensions)
        self._client.create_collection(_COLLECTION, schema=fields)
        for start in range(0, len(vectors), _LOADED_AT_ONCE):
            part = vectors[start : start + _LOADED_AT_ONCE]
            self._client.insert(
                _COLLECTION, [{"id": start + i, "vector": vector} for i, vector in enumerate(part)]
            )
        self._client.flush(
            _COLLECTION, timeout=_PATIENCE_S
        )  # what is not flushed is scanned, whatever the index
        index = self._client.prepare_index_params()
        index.add_index(
            field_name="vector",
            index_type={"flat": "HNSW", "sq": "HNSW_SQ"}[self.kind],
            metric_type="IP",
            params={"M": self.setup.m, "efConstruction": self.setup.ef_construction},
        )
        self._client.create_index(_COLLECTION, index, timeout=_PATIENCE_S)
        self._client.load_collection(_COLLECTION, timeout=_PATIENCE_S)

    def open(self) -> None:
        """Load the collection."""
        self._client.load_collection(_COLLECTION, timeout=_PATIENCE_S)

    def set_effort(self, effort: int) -> None:
        """Of the searches that follow: ef."""
        self._effort = effort

    def search(self, queries: Floats, k: int) -> Any:
        """One call for all queries."""
        params = {"metric_type": "IP", "params": {"ef": self._effort}}
        return self._client.search(_COLLECTION, data=list(queries), limit=k, search_params=params)

    def rows(self, found: Any, k: int) -> Ints:
        """Its ids are row numbers."""
        return padded([[int(hit["id"]) for hit in one] for one in found], k)

    def held_bytes(self) -> int | None:
        """It does not tell."""
        return None

    def replace(self, rows: Ints, vectors: Floats) -> None:
        """Its upsert."""
        records = [{"id": row, "vector": vector} for row, vector in zip(rows.tolist(), vectors, strict=True)]
        self._client.upsert(_COLLECTION, records)

    def delete(self, rows: Ints) -> None:
        """By id."""
        self._client.delete(_COLLECTION, ids=rows.tolist())

    def close(self) -> None:
        """Close the client, and with it the file."""
        self._client.close()
