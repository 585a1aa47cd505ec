"""An answer is served again as long as it is the answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from collections_of import vector

from paceline.base.vectors_records import Matched, Queried, Query
from paceline.flow.cache.policy import CachePolicy
from paceline.flow.cache.tiers import open_tiers
from paceline.vectors.metric import Floats
from paceline.vectors.query_cache import QueryCache

pytestmark = pytest.mark.anyio

PLAIN: dict[str, Any] = {"ef": 100, "candidates": 32, "version": 7}
ANSWER = Queried(matches=[Matched("a", 0.5, [1.0, 2.0], {"n": [1, "x"]})], namespace="space")


@pytest.fixture
def anyio_backend() -> str:
    """Tiers are asyncio's."""
    return "asyncio"


def cache(identity: str = "glosses") -> QueryCache:
    """In memory."""
    return QueryCache(open_tiers(CachePolicy()), identity, 60.0)


def key(numbers: Floats | None = None, *, of: QueryCache | None = None, **other: Any) -> bytes:
    """Of a query of vector 1 that is like any other, but for `other`."""
    setting = {name: other.pop(name, value) for name, value in PLAIN.items()}
    given = vector(1) if numbers is None and "id" not in other else numbers
    query = Query(**{"vector": None if given is None else given.tolist(), "top_k": 5, **other})
    return (of or cache()).key(query, given, **setting)


async def test_an_answer_is_searched_once_and_comes_back_as_it_was() -> None:
    """From memory, at once, after the first."""
    held, searches = cache(), []

    async def search() -> Queried:
        searches.append(1)
        return ANSWER

    assert held.peek(key(of=held)) is None
    first = await held.fetch(key(of=held), search)
    again = await held.fetch(key(of=held), search)

    assert first == (ANSWER, "miss")
    assert again == (ANSWER, "l1")
    assert held.peek(key(of=held)) == ANSWER
    assert len(searches) == 1


async def test_an_answer_without_all_shards_is_not_kept() -> None:
    """The next who asks may get a whole one."""
    held = cache()
    part = Queried(matches=[], partial=True, missing={"s1": "no answer in time"})
    answers = [part, ANSWER]

    async def search() -> Queried:
        return answers.pop(0)

    assert await held.fetch(key(of=held), search) == (part, "bypass")
    assert await held.fetch(key(of=held), search) == (ANSWER, "miss")


@pytest.mark.parametrize(
    "other",
    [
        {"top_k": 6},
        {"namespace": "other"},
        {"filter": {"n": 1}},
        {"ef": 50},
        {"candidates": 16},
        {"version": 8},
        {"exact": True},
        {"include_metadata": True},
        {"include_values": True},
        {"text": "words"},
        {"vector": "AAAA"},
        {"id": "a"},
    ],
)
def test_whatever_changes_the_answer_changes_the_key(other: dict[str, Any]) -> None:
    """Each part of what was asked, the setting in force and the version; and how values are to be written."""
    assert key(**other) != key()


def test_the_collection_is_part_of_the_key() -> None:
    """By its identity, which no other has."""
    assert key(of=cache("other")) != key(of=cache())


def test_what_means_the_same_has_the_same_key() -> None:
    """The order of a filter's fields; weights of words when there are none; the last bits of the numbers."""
    near = vector(1) * np.float32(1 + 1e-7)

    assert key(filter={"a": 1, "b": 2}) == key(filter={"b": 2, "a": 1})
    assert key(weights=(1.0, 3.0)) == key()
    assert key(text="words", weights=(1.0, 3.0)) != key(text="words")
    assert key(near) == key()


def test_numbers_that_differ_by_more_are_others() -> None:
    """One part in 100,000 of the largest; also their size, as not every metric is blind to it."""
    numbers = vector(1)
    moved = numbers.copy()
    moved[3] += np.abs(numbers).max() * 1e-5

    assert len({key(numbers), key(moved), key(-numbers), key(2 * numbers), key(numbers[:-1])}) == 5


def test_numbers_of_any_size_have_a_key() -> None:
    """The smallest of float32, and none but zeros."""
    tiny = np.full(8, 1e-44, np.float32)

    assert len({key(tiny), key(np.zeros(8, np.float32)), key(np.full(8, 3e38, np.float32))}) == 3
