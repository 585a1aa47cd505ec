"""A service over a store of small collections, for tests."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from collections_of import DIMENSIONS, SMALL, names, vector, vectors

from paceline.base.vectors_api import VectorService
from paceline.base.vectors_collections import CreateCollection
from paceline.base.vectors_records import Queried, Query, Upsert, VectorItem
from paceline.flow.cache.policy import CachePolicy
from paceline.flow.cache.tiers import open_tiers
from paceline.vectors.policy import VectorsPolicy
from paceline.vectors.service import LocalVectors
from paceline.vectors.store import VectorStore


@asynccontextmanager
async def served(
    folder: Path, policy: VectorsPolicy = SMALL, *, cached: bool = True
) -> AsyncIterator[LocalVectors]:
    """The collections in `folder`, open; closed at the end."""
    tiers = open_tiers(CachePolicy()) if cached else None
    service = LocalVectors(VectorStore(folder, policy), policy, cache=tiers)
    try:
        await service.start()
        yield service
    finally:
        await service.close()
        if tiers is not None:
            await tiers.close()


async def ask(service: VectorService, asked: Any, seconds: float = 60.0) -> Any:
    """The answer, with time enough for it."""
    return await service.answer(asked, deadline_at=time.monotonic() + seconds)


def create(name: str = "a", **fields: Any) -> CreateCollection:
    """A collection of the dimensions of `collections_of`."""
    return CreateCollection(name=name, **{"dimension": DIMENSIONS, **fields})


def upsert(count: int, first: int = 0, **fields: Any) -> Upsert:
    """Records of seeds from `first` on, with their seed as metadata."""
    rows: Iterable[tuple[str, list[float]]] = zip(
        names(count, first), vectors(count, first).tolist(), strict=True
    )
    items = [VectorItem(name, row, {"n": first + i}) for i, (name, row) in enumerate(rows)]
    return Upsert(vectors=items, **fields)


def near(seed: int, **fields: Any) -> Query:
    """The records nearest to vector `seed`."""
    return Query(**{"vector": vector(seed).tolist(), "top_k": 3, **fields})


def ids(answer: Queried) -> list[str]:
    """Of the matches, best first."""
    return [match.id for match in answer.matches]
