"""A graph of near neighbours over the rows of one segment, built in one go by faiss and kept as plain arrays.

faiss builds on bytes of its own scalar quantizer: as good a graph as on float32, in 0.8 of the time and a quarter of
the memory. Rows are numbered as the vectors were given. Arrays may be memory maps.
"""

from __future__ import annotations

from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.vectors.compiled import records as of
from paceline.vectors.metric import Metric, entered

Ints = NDArray[np.int32]
_LEARNED_FROM: Final = 50_000
MOST_LINKS: Final = 512
"""Largest M: twice as many neighbours are scored in one go."""


class Graph(msgspec.Struct, frozen=True, eq=False):
    """Neighbours of each row on the base level and, for few rows, on the levels above; -1 where there are no more."""

    base: Ints  # (n, 2M)
    upper: Ints  # (links of all rows on all upper levels, M)
    upper_at: Ints  # (n,) where a row's upper levels begin in `upper`; level 1 first
    entry: int  # the row to start from; -1 if there are no rows
    levels: int  # above the base level

    @classmethod
    def build(
        cls,
        vectors: Any,
        metric: Metric = "cosine",
        *,
        m: int = 16,
        ef_construction: int = 200,
        threads: int = 0,
    ) -> Self:
        """The HNSW graph of `vectors` (n, d) on `threads` threads (0: all cores); blocks, lets other threads run."""
        if not 2 <= m <= MOST_LINKS or ef_construction < 1:
            raise ConfigError(
                f"m is {m} and ef_construction {ef_construction}; m is 2 to {MOST_LINKS}, ef_construction 1 or more"
            )
        rows = entered(vectors, metric)
        if len(rows) >= of.MOST_ROWS:
            raise InvalidRequest(f"{len(rows)} vectors in one graph; split them below {of.MOST_ROWS}")
        if len(rows) == 0:
            return cls(_none(2 * m), _none(m), np.zeros(0, np.int32), -1, 0)
        import faiss  # noqa: PLC0415 - 0.2 s that a search never needs

        kind = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexHNSWSQ(rows.shape[1], faiss.ScalarQuantizer.QT_8bit, m, kind)  # type: ignore[arg-type]  # its stubs are wrong
        index.hnsw.efConstruction = ef_construction
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(threads or before)
        try:
            index.train(rows[:: max(1, len(rows) // _LEARNED_FROM)])
            index.add(rows)
        finally:
            faiss.omp_set_num_threads(before)
        return cls._of_hnsw(index.hnsw, m)

    @classmethod
    def _of_hnsw(cls, hnsw: Any, m: int) -> Self:
        """From faiss's one array of all links: of each row first 2M of the base level, then M a level above."""
        import faiss  # noqa: PLC0415 - as in `build`

        links: Ints = faiss.vector_to_array(hnsw.neighbors)
        begins = faiss.vector_to_array(hnsw.offsets).astype(np.int64)[:-1]
        above = faiss.vector_to_array(hnsw.levels).astype(np.int64) - 1  # (n,) levels of a row above the base
        base = links[begins[:, None] + np.arange(2 * m)]
        upper_at = np.cumsum(above) - above
        owner = np.repeat(np.arange(len(begins)), above)
        level = np.arange(len(owner)) - upper_at[owner]
        upper = links[(begins[owner] + 2 * m + m * level)[:, None] + np.arange(m)]
        return cls(base, upper, upper_at.astype(np.int32), int(hnsw.entry_point), int(hnsw.max_level))

    def __len__(self) -> int:
        return len(self.base)

    @property
    def held_bytes(self) -> int:
        """Bytes of the arrays."""
        return self.base.nbytes + self.upper.nbytes + self.upper_at.nbytes

    def record(self) -> NDArray[np.int64]:
        """By which compiled functions know the graph; holds addresses, so keep `self` as long."""
        record = np.zeros(of.GRAPH, np.int64)
        record[of.BASE], record[of.WIDTH] = self.base.ctypes.data, self.base.shape[1]
        record[of.UPPER], record[of.UPPER_WIDTH] = self.upper.ctypes.data, self.upper.shape[1]
        record[of.UPPER_AT], record[of.ENTRY], record[of.LEVELS] = (
            self.upper_at.ctypes.data,
            self.entry,
            self.levels,
        )
        return record


def _none(width: int) -> Ints:
    return np.zeros((0, width), np.int32)
