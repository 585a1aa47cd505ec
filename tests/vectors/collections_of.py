"""Small collections for tests, and what they should hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from paceline.vectors.collection import Collection
from paceline.vectors.policy import DurabilityPolicy, Schema, SearchPolicy, UpkeepPolicy, VectorsPolicy

DIMENSIONS = 8
SMALL = VectorsPolicy(upkeep=UpkeepPolicy(seal_rows=32, graph_rows=64))
"""Seals and builds graphs within a few writes."""
STILL = VectorsPolicy(upkeep=UpkeepPolicy(seal_rows=100_000))
"""Keeps everything in the log and in memory."""


def policy(**fields: Any) -> VectorsPolicy:
    """A policy with these fields, wherever they belong."""
    parts = {"durability": DurabilityPolicy, "search": SearchPolicy, "upkeep": UpkeepPolicy}
    taken = {
        name: kind(**{field: value for field, value in fields.items() if field in kind.__struct_fields__})
        for name, kind in parts.items()
    }
    return VectorsPolicy(**taken)


def vector(seed: int) -> np.ndarray:
    """A vector, the same for the same seed."""
    return np.random.default_rng(seed).standard_normal(DIMENSIONS).astype(np.float32)


def vectors(count: int, first: int = 0) -> np.ndarray:
    """Vectors of seeds from `first` on."""
    return np.stack([vector(first + i) for i in range(count)])


def names(count: int, first: int = 0) -> list[str]:
    """Ids that tell the seed."""
    return [f"v{first + i}" for i in range(count)]


def filled(folder: Path, count: int, how: VectorsPolicy = SMALL, **schema: Any) -> Collection:
    """A new collection of `count` records, in batches of 20, with the metadata {"n": seed}."""
    made = Collection.create(folder, Schema(dimensions=DIMENSIONS, **schema), policy=how)
    add(made, count)
    return made


def add(collection: Collection, count: int, first: int = 0, batch: int = 20) -> None:
    """Write records of seeds from `first` on."""
    for start in range(first, first + count, batch):
        size = min(batch, first + count - start)
        collection.upsert_arrays(
            names(size, start), vectors(size, start), [{"n": start + i} for i in range(size)]
        )


def ids_of(collection: Collection, **options: Any) -> list[str]:
    """Ids of the records nearest to vector 0, at most 10,000, best first."""
    return [match.id for match in collection.query(vector(0), 10_000, **options)[0]]
