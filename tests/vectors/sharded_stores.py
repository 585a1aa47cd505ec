"""Stores of small sharded collections for tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from collections_of import DIMENSIONS, STILL, vector

from paceline.vectors.any_collection import AnyCollection
from paceline.vectors.policy import Schema, ShardPolicy, VectorsPolicy
from paceline.vectors.record import Record
from paceline.vectors.sharded import ShardedCollection
from paceline.vectors.store import VectorStore

SCHEMA = Schema(dimensions=DIMENSIONS)
IN_PROCESSES = VectorsPolicy(upkeep=STILL.upkeep, shards=ShardPolicy(processes=True, timeout_s=60.0))


def sharded(store: VectorStore, name: str = "c", shards: int = 3, **schema: Any) -> ShardedCollection:
    """A new sharded collection."""
    made = store.create(name, Schema(dimensions=DIMENSIONS, **schema), shards=shards)
    assert isinstance(made, ShardedCollection)
    return made


def records(seeds: Iterable[int]) -> list[Record]:
    """Of these seeds; every third in the namespace `other`."""
    return [Record(f"v{seed}", vector(seed), {"n": seed}, "other" if seed % 3 == 0 else "") for seed in seeds]


def found(collection: AnyCollection, **options: Any) -> list[str]:
    """Ids of all records of the default namespace, nearest to vector 0 first."""
    return [match.id for match in collection.query(vector(0), 10_000, **options)[0]]


def held(folder: Path) -> list[str]:
    """Names of what is in a folder, but for its lock."""
    return sorted(file.name for file in folder.iterdir() if file.name != "lock")
