"""An answer is served again as long as it is the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collections_of import STILL, filled, vector, vectors

from paceline.flow.cache.policy import CachePolicy
from paceline.flow.cache.tiers import open_tiers
from paceline.vectors.filters import Filter
from paceline.vectors.query_cache import Asked, QueryCache
from paceline.vectors.record import Match, Record

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Tiers are asyncio's."""
    return "asyncio"


def cache(name: str = "glosses") -> QueryCache:
    """In memory."""
    return QueryCache(open_tiers(CachePolicy()), name, 60.0)


async def test_an_answer_is_found_until_a_write_changes_the_collection(tmp_path: Path) -> None:
    """The write need not concern it: its version is another."""
    held = cache()
    with filled(tmp_path / "c", 40, STILL) as collection:
        asked = Asked(5, include_metadata=True, include_vectors=True)

        async def ask() -> tuple[list[list[Match]], str]:
            key = held.key(vector(1), asked, collection.version)
            return await held.fetch(
                key, lambda: collection.query(vector(1), 5, include_metadata=True, include_vectors=True)
            )

        first, tier = await ask()
        assert tier == "miss"
        again, tier = await ask()
        assert tier == "l1"
        assert [(m.id, m.score, m.metadata) for m in again[0]] == [
            (m.id, m.score, m.metadata) for m in first[0]
        ]
        assert (again[0][0].vector == first[0][0].vector).all()
        assert held.peek(held.key(vector(1), asked, collection.version)) is not None

        collection.upsert([Record("nearest", vector(1))])
        fresh, tier = await ask()
        assert tier == "miss"
        assert "nearest" in [match.id for match in fresh[0]]


@pytest.mark.parametrize(
    "other",
    [
        {"k": 6},
        {"namespace": "other"},
        {"wanted": Filter.parse({"n": 1})},
        {"ef": 50},
        {"candidates": 16},
        {"include_metadata": True},
        {"include_vectors": True},
    ],
)
def test_whatever_changes_the_answer_changes_the_key(other: dict[str, Any]) -> None:
    """Each part of what was asked, the numbers, the version, the collection."""
    held, plain = cache(), Asked.of(5)

    assert held.key(vector(1), Asked.of(**{"k": 5, **other}), 7) != held.key(vector(1), plain, 7)


def test_the_numbers_the_version_and_the_collection_are_part_of_the_key() -> None:
    """So is how they were divided into queries."""
    held, plain = cache(), Asked.of(5)
    key = held.key(vector(1), plain, 7)

    assert held.key(vector(1).copy(), plain, 7) == key
    assert held.key(vector(2), plain, 7) != key
    assert held.key(vector(1), plain, 8) != key
    assert cache("others").key(vector(1), plain, 7) != key
    assert held.key(vectors(2), plain, 7) != held.key(vectors(2).ravel(), plain, 7)


def test_the_last_bits_of_a_number_do_not_matter() -> None:
    """A thousandth does; a query of zeros has a key as well."""
    held, plain = cache(), Asked.of(5)
    query = vector(1)
    nudged = np.nextafter(query, np.float32(np.inf))

    assert (
        sum(
            held.key(query * s, plain, 1) == held.key(nudged * s, plain, 1)
            for s in np.linspace(1, 2, 50, dtype=np.float32)
        )
        > 40
    )
    assert held.key(query + np.float32(1e-3), plain, 1) != held.key(query, plain, 1)
    assert held.key(query * 2, plain, 1) != held.key(query, plain, 1)  # under l2 its neighbours are others
    assert len(held.key(np.zeros(8, np.float32), plain, 1)) == 16
