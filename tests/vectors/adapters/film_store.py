"""A store of a few films, and short words for what tests ask of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from paceline.base.vectors_api import VectorService
from paceline.base.vectors_collections import CreateCollection
from paceline.base.vectors_records import Query, Upsert, VectorItem

Scenario = Callable[["Store"], Awaitable[Any]]


FILMS = [
    ("alien", [1.0, 0.0, 0.1], {"year": 1979, "genre": "horror", "tags": ["space", "ship"], "seen": True}),
    ("brazil", [0.9, 0.3, 0.0], {"year": 1985, "genre": "satire", "rating": 7.8}),
    ("casablanca", [0.0, 1.0, 0.0], {"year": 1942, "genre": "drama", "seen": False}),
    ("dune", [0.7, 0.0, 0.7], {"year": 2021, "genre": "drama", "tags": ["space", "desert"], "rating": 8}),
    ("eraserhead", [-0.5, 0.2, 0.9], None),
]


class Store:
    """A service with short words for what the tests ask."""

    def __init__(self, service: VectorService) -> None:
        self.service = service

    async def ask(self, asked: Any) -> Any:
        return await self.service.answer(asked, deadline_at=time.monotonic() + 30)

    async def films(self, name: str = "films", **wishes: Any) -> None:
        await self.ask(CreateCollection(name=name, dimension=3, **wishes))
        items = [VectorItem(film, values, metadata) for film, values, metadata in FILMS]
        assert (await self.ask(Upsert(vectors=items))).upserted_count == len(FILMS)

    async def ids(self, **query: Any) -> list[str]:
        return [one.id for one in (await self.ask(Query(**query))).matches]


def unit(values: Any) -> list[float]:
    return (np.array(values) / np.linalg.norm(values)).tolist()


def direction(values: Any) -> Any:
    """Of length one: a store may keep no more of a vector under cosine, and in fp16."""
    return pytest.approx(unit(values), abs=2e-3)
