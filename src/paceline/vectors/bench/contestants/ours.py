"""Paceline's own collection, through its Python API."""

from __future__ import annotations

from typing import Any, Final, cast

from paceline.vectors.bench.contestant import Ints, Setup, padded
from paceline.vectors.codes import Precision
from paceline.vectors.collection import Collection
from paceline.vectors.metric import Floats
from paceline.vectors.policy import Rescore, Schema, SearchPolicy, UpkeepPolicy, VectorsPolicy

FOLDER: Final = "collection"
_LOADED_AT_ONCE: Final = 5_000
_EXACT_ENOUGH: Final = {"fp32", "fp16", "bf16"}


class Ours:
    """A collection of one precision, its graph built by its own upkeep; the other settings are the defaults."""

    unchangeable = ""

    def __init__(self, setup: Setup, kind: str) -> None:
        self.setup = setup
        self.precision = cast("Precision", kind)
        rescore: Rescore = "none" if kind in _EXACT_ENOUGH else "fp16"
        self.schema = Schema(dimensions=setup.dimensions, precision=self.precision, rescore=rescore)
        self.index = f"graph on {kind}" + ("" if rescore == "none" else f", re-scored on {rescore}")
        self.policy = VectorsPolicy(
            search=SearchPolicy(m=setup.m, ef_construction=setup.ef_construction),
            upkeep=UpkeepPolicy(threads=setup.threads),
        )
        self._open: Collection | None = None
        self._effort = self.policy.search.usual_ef

    @property
    def collection(self) -> Collection:
        """The open collection."""
        assert self._open is not None, "build or open it first"
        return self._open

    def build(self, vectors: Floats) -> None:
        """Load all, durably, then one graph over them."""
        self._open = Collection.create(self.setup.path / FOLDER, self.schema, policy=self.policy)
        with self._open.loading():
            for start in range(0, len(vectors), _LOADED_AT_ONCE):
                part = vectors[start : start + _LOADED_AT_ONCE]
                self._open.upsert_arrays([str(start + i) for i in range(len(part))], part)
        self._open.compact()

    def open(self) -> None:
        """Map its files."""
        self._open = Collection.open(self.setup.path / FOLDER, policy=self.policy)

    def set_effort(self, effort: int) -> None:
        """Of the searches that follow: ef."""
        self._effort = effort

    def search(self, queries: Floats, k: int) -> Any:
        """One call for all queries."""
        return self.collection.query(queries, k, ef=self._effort)

    def rows(self, found: Any, k: int) -> Ints:
        """Ids are row numbers."""
        return padded([[int(match.id) for match in one] for one in found], k)

    def held_bytes(self) -> int | None:
        """Codes and graph."""
        return self.collection.stats().held_bytes

    def replace(self, rows: Ints, vectors: Floats) -> None:
        """Durable when it returns."""
        self.collection.upsert_arrays([str(row) for row in rows], vectors)

    def delete(self, rows: Ints) -> None:
        """Durable when it returns."""
        self.collection.delete([str(row) for row in rows])

    def close(self) -> None:
        """Release the folder."""
        self.collection.close()
