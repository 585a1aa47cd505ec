"""The compiled searches, made ready before anybody waits for them: `warm_up`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from paceline.vectors.codes import Precision
from paceline.vectors.collection import Collection
from paceline.vectors.policy import DurabilityPolicy, Schema, SearchPolicy, UpkeepPolicy, VectorsPolicy

_ROWS: Final = 64
_DIMENSIONS: Final = 64
_POLICY: Final = VectorsPolicy(
    durability=DurabilityPolicy(fsync="never"),
    search=SearchPolicy(m=4, ef_construction=8),
    upkeep=UpkeepPolicy(seal_rows=_ROWS, graph_rows=_ROWS, threads=1),
)


def warm_up(precisions: Iterable[Precision]) -> None:
    """Search a small collection of each precision in each way; takes seconds where nothing was compiled and kept before."""
    for precision in precisions:
        _warm_up(precision)


@cache  # what a process has compiled stays
def _warm_up(precision: Precision) -> None:
    vectors = np.random.default_rng(1).standard_normal((_ROWS, _DIMENSIONS)).astype(np.float32)
    ids = [str(i) for i in range(_ROWS)]
    metadata = [{"n": i} for i in range(_ROWS)]
    schema = Schema(dimensions=_DIMENSIONS, precision=precision)
    with (
        tempfile.TemporaryDirectory(prefix="paceline-") as folder,
        Collection.create(Path(folder) / "c", schema, policy=_POLICY) as made,
    ):
        made.upsert_arrays(ids, vectors, metadata)
        made.compact()
        made.upsert_arrays(ids[:2], vectors[:2], metadata[:2])
        made.query(vectors[0], 3)
        made.query(vectors[0], 3, filter={"n": {"$lt": _ROWS // 2}})
        made.query(vectors[0], 3, exact=True)
