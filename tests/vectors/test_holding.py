"""Collections are made, named, listed, dropped and spread, and one that cannot be opened keeps no other from being served."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from collections_of import DIMENSIONS, SMALL, vectors
from served import ask, create, ids, near, served, upsert

from paceline.base.errors import NotFound, PacelineError
from paceline.base.vectors_collections import (
    Compact,
    Describe,
    DescribeCollection,
    DropCollection,
    ListCollections,
    Reshard,
    Tune,
)
from paceline.base.vectors_records import Delete
from paceline.vectors.policy import SearchPolicy

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Cache tiers are asyncio's."""
    return "asyncio"


async def test_a_collection_that_is_not_named_is_the_only_one_or_the_settings(tmp_path: Path) -> None:
    """Else nobody knows which is meant, and the error tells which there are."""
    async with served(tmp_path) as service:
        with pytest.raises(NotFound, match="there is no 'default'; there are: none"):
            await ask(service, near(1))
        await ask(service, create("a"))
        assert (await ask(service, Describe())).collection == "a"
        await ask(service, create("b"))
        for asked in (near(1), Describe()):
            with pytest.raises(NotFound, match="there is no 'default'; there are: a, b"):
                await ask(service, asked)
        await ask(service, create("default"))
        await ask(service, upsert(3))

        assert (await ask(service, Describe())).collection == "default"
        assert ids(await ask(service, near(1)))[0] == "v1"


@pytest.mark.parametrize("kind", [Describe, Compact, DescribeCollection, DropCollection])
async def test_a_collection_that_is_not_there_is_not_found(tmp_path: Path, kind: type[Any]) -> None:
    """The error tells which there are."""
    async with served(tmp_path) as service:
        await ask(service, create("b"))
        await ask(service, create("a"))

        with pytest.raises(NotFound, match="no collection 'c'; there are: a, b") as caught:
            await ask(service, kind(collection="c"))

        assert caught.value.param == "collection"


@pytest.mark.parametrize(
    ("asked", "kept"), [("dotproduct", "dot"), ("euclidean", "l2"), ("l2", "l2"), ("cosine", "cosine")]
)
async def test_metrics_have_the_names_that_callers_know(tmp_path: Path, asked: Any, kept: str) -> None:
    """Pinecone's beside ours; one is told."""
    async with served(tmp_path) as service:
        card = await ask(service, create(metric=asked))

        assert (card.metric, card.dimension, card.precision, card.records) == (kept, DIMENSIONS, "int8", 0)


async def test_a_reduction_learns_from_a_sample(tmp_path: Path) -> None:
    """Given when the collection is made; vectors and queries stay as long as they were."""
    async with served(tmp_path) as service:
        await ask(service, create(reduction="pca", kept=4, sample=vectors(50).tolist()))
        await ask(service, upsert(10))

        assert ids(await ask(service, near(4)))[0] == "v4"


async def test_collections_are_listed_and_dropped(tmp_path: Path) -> None:
    """A name may be used again, and nothing of the former one is found, not even its answers."""
    async with served(tmp_path) as service:
        await ask(service, create("b"))
        await ask(service, create("a", precision="fp16"))
        await ask(service, upsert(5, collection="a"))
        listed = (await ask(service, ListCollections())).collections
        assert [(one.name, one.precision, one.records) for one in listed] == [
            ("a", "fp16", 5),
            ("b", "int8", 0),
        ]
        first = await ask(service, near(1, collection="a"))
        assert service.hit(near(1, collection="a")) == first

        await ask(service, DropCollection(collection="a"))
        await ask(service, create("a"))
        await ask(service, upsert(5, first=50, collection="a"))

        assert service.hit(near(1, collection="a")) is None
        assert set(ids(await ask(service, near(1, collection="a")))) <= {f"v{50 + i}" for i in range(5)}


async def test_a_collection_of_shards_is_used_as_any(tmp_path: Path) -> None:
    """Its answers are kept until it is written to; it is tuned and opened again like another."""
    async with served(tmp_path) as service:
        card = await ask(service, create(shards=3))
        assert card.shards == 3
        await ask(service, upsert(200))
        found = await ask(service, near(7, include_metadata=True))
        assert (ids(found)[0], found.matches[0].metadata, found.partial) == ("v7", {"n": 7}, False)
        assert service.hit(near(7, include_metadata=True)) == found
        await ask(service, Delete(ids=["v7"]))
        assert service.hit(near(7, include_metadata=True)) is None
        assert "v7" not in ids(await ask(service, near(7)))
        assert (await ask(service, Tune(recall=0.9, vectors=vectors(120, first=1000).tolist()))).applied

    async with served(tmp_path) as service:
        assert service.stats()["vectors"]["records"] == 199
        assert (await ask(service, DescribeCollection())).promise.startswith("recall@10 >= 0.9")


@pytest.mark.slow  # each of a thousand slots is safe on the disk before the next moves
async def test_shards_are_added_to_a_collection_in_use(tmp_path: Path) -> None:
    """What is asked meanwhile is answered, and no answer of before is taken for one of now."""
    async with served(tmp_path) as service:
        await ask(service, create())
        await ask(service, upsert(100))
        await ask(service, near(7))
        assert (await ask(service, Reshard(shards=1))).records_moved == 0
        asking = True

        async def keep_asking() -> int:
            answers = 0
            while asking:
                assert ids(await ask(service, near(7)))[0] == "v7"
                answers += 1
                await asyncio.sleep(0)  # answers from memory never wait, and others want the loop too
            return answers

        answers = asyncio.ensure_future(keep_asking())
        done = await ask(service, Reshard(shards=3))
        asking = False

        assert await answers > 0
        assert done.records_moved > 30
        assert (await ask(service, DescribeCollection())).shards == 3
        assert ids(await ask(service, near(8)))[0] == "v8"
        assert (await ask(service, Describe())).total_vector_count == 100


async def test_another_policy_is_in_force_at_once(tmp_path: Path) -> None:
    """For open collections and for those that are opened later."""
    async with served(tmp_path) as service:
        await ask(service, create())

        service.apply(
            msgspec.structs.replace(SMALL, search=SearchPolicy(ef=55, candidates=11), recheck_s=9.0)
        )
        await ask(service, create("b"))

        for card in (await ask(service, ListCollections())).collections:
            assert (card.ef, card.candidates) == (55, 11)


async def test_a_collection_that_cannot_be_opened_does_not_keep_others_from_being_served(
    tmp_path: Path,
) -> None:
    """It is told by `/health`, and by every call that names it."""
    async with served(tmp_path) as service:
        await ask(service, create("a"))
        await ask(service, create("b"))
    (tmp_path / "a" / "manifest.json").write_text("{}")

    async with served(tmp_path) as service:
        health = service.health()
        assert (health["status"], health["collections"]) == ("degraded", 1)
        assert "manifest.json" in health["troubles"]["a"]
        assert [one.name for one in (await ask(service, ListCollections())).collections] == ["b"]
        with pytest.raises(PacelineError, match="restore a snapshot"):
            await ask(service, near(1, collection="a"))
        with pytest.raises(NotFound):  # two there are, and none is named `default`
            await ask(service, near(1))
