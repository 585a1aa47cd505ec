"""faiss: its HNSW on float32, bfloat16 or its own bytes."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from paceline.base.errors import PacelineError
from paceline.vectors.bench.contestant import Ints, Setup
from paceline.vectors.metric import Floats

_LEARNED_FROM: Final = 50_000
_CODE_BYTES: Final = {"flat": 4, "sq8": 1, "bf16": 2}


class Faiss:
    """`IndexHNSWFlat`, or `IndexHNSWSQ` of one kind."""

    unchangeable = "faiss has no way to remove a vector from an HNSW index"

    def __init__(self, setup: Setup, kind: str) -> None:
        import faiss  # noqa: PLC0415 - an extra, wanted by this contestant only

        self.faiss: Any = faiss
        self.setup, self.kind = setup, kind
        self.index = f"HNSW {kind}"
        self._file = setup.path / "index.faiss"
        self._index: Any = None

    def build(self, vectors: Floats) -> None:
        """Train and add on all threads."""
        faiss, setup = self.faiss, self.setup
        if self.kind == "flat":
            self._index = faiss.IndexHNSWFlat(setup.dimensions, setup.m, faiss.METRIC_INNER_PRODUCT)
        else:
            quantizer = {
                "sq8": faiss.ScalarQuantizer.QT_8bit,
                "bf16": faiss.ScalarQuantizer.QT_bf16,
            }[self.kind]
            self._index = faiss.IndexHNSWSQ(setup.dimensions, quantizer, setup.m, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = setup.ef_construction
        faiss.omp_set_num_threads(setup.threads)
        self._index.train(vectors[:: max(1, len(vectors) // _LEARNED_FROM)])
        self._index.add(vectors)
        faiss.omp_set_num_threads(1)
        faiss.write_index(self._index, str(self._file))

    def open(self) -> None:
        """Read the file."""
        self._index = self.faiss.read_index(str(self._file))
        self.faiss.omp_set_num_threads(1)

    def set_effort(self, effort: int) -> None:
        """EfSearch of the searches that follow."""
        self._index.hnsw.efSearch = effort

    def search(self, queries: Floats, k: int) -> Any:
        """One call for all queries."""
        return self._index.search(queries, k)[1]

    def rows(self, found: Any, k: int) -> Ints:
        """Its ids are row numbers."""
        return np.asarray(found, np.int32)[:, :k]

    def held_bytes(self) -> int | None:
        """Codes, and all links of all levels."""
        links: int = self.faiss.vector_to_array(self._index.hnsw.neighbors).nbytes
        return links + _CODE_BYTES[self.kind] * self.setup.dimensions * int(self._index.ntotal)

    def replace(self, rows: Ints, vectors: Floats) -> None:
        """Not possible."""
        raise PacelineError(f"{len(rows)} of {len(vectors)} vectors stay: {self.unchangeable}")

    def delete(self, rows: Ints) -> None:
        """Not possible."""
        raise PacelineError(f"{len(rows)} vectors stay: {self.unchangeable}")

    def close(self) -> None:
        """Free it."""
        self._index = None
