"""Chroma: a collection of its persistent client."""

from __future__ import annotations

from typing import Any, Final

from paceline.vectors.bench.contestant import Ints, Setup, padded
from paceline.vectors.metric import Floats

_COLLECTION: Final = "vectors"
_LOADED_AT_ONCE: Final = 2_000


class Chroma:
    """Its HNSW, on float32; its ef is a setting of the collection, and holds from when it is opened."""

    unchangeable = ""
    index = "HNSW float32"

    def __init__(self, setup: Setup, kind: str) -> None:  # noqa: ARG002 - there is one kind
        import chromadb  # noqa: PLC0415 - wanted by this contestant only

        self.api: Any = chromadb
        self.setup = setup
        self._client = self._connected()
        self._collection: Any = None
        self._effort = 0

    def _connected(self) -> Any:
        settings = self.api.Settings(anonymized_telemetry=False)
        return self.api.PersistentClient(str(self.setup.path / "chroma"), settings=settings)

    def build(self, vectors: Floats) -> None:
        """Add all; it indexes as it goes."""
        graph = {
            "space": "ip",
            "max_neighbors": self.setup.m,
            "ef_construction": self.setup.ef_construction,
            "num_threads": self.setup.threads,
        }
        self._collection = self._client.create_collection(
            _COLLECTION, configuration={"hnsw": graph}, embedding_function=None
        )
        for start in range(0, len(vectors), _LOADED_AT_ONCE):
            part = vectors[start : start + _LOADED_AT_ONCE]
            self._collection.add([str(start + i) for i in range(len(part))], embeddings=part)

    def open(self) -> None:
        """Open the collection."""
        self._collection = self._client.get_collection(_COLLECTION, embedding_function=None)

    def set_effort(self, effort: int) -> None:
        """Change the collection, and open it anew: one that is open keeps the ef it had."""
        if effort == self._effort:
            return
        self._collection.modify(configuration={"hnsw": {"ef_search": effort}})
        self._client.close()
        self._client = self._connected()
        self.open()
        self._effort = effort

    def search(self, queries: Floats, k: int) -> Any:
        """One call for all queries; nothing but ids is asked for."""
        return self._collection.query(query_embeddings=queries, n_results=k, include=[])["ids"]

    def rows(self, found: Any, k: int) -> Ints:
        """Ids are row numbers."""
        return padded([[int(name) for name in one] for one in found], k)

    def held_bytes(self) -> int | None:
        """It does not tell."""
        return None

    def replace(self, rows: Ints, vectors: Floats) -> None:
        """Into its SQLite file, and its index."""
        self._collection.update([str(row) for row in rows], embeddings=vectors)

    def delete(self, rows: Ints) -> None:
        """From its SQLite file, and its index."""
        self._collection.delete([str(row) for row in rows])

    def close(self) -> None:
        """Close the client."""
        self._client.close()
