"""What is wrong is told by the names it was asked with; deadlines, the folder, and the end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from collections_of import DIMENSIONS, SMALL, vector, vectors
from served import ask, create, near, served, upsert

from paceline.base.errors import DeadlineExceeded, EngineError, FolderInUse, InvalidRequest
from paceline.base.vectors_collections import Compact, Describe, DropCollection, Reshard, Restore, Tune
from paceline.base.vectors_records import Delete, Fetch, Query, Update, Upsert, VectorItem
from paceline.vectors.service import LocalVectors

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Cache tiers are asyncio's."""
    return "asyncio"


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        (near(1, vector=[1.0]), "vector"),
        (near(1, vector=[float("nan")] * DIMENSIONS), "vector"),
        (near(1, vector=[0.0] * DIMENSIONS), "vector"),
        (near(1, vector="?"), "vector"),
        (Query(), "vector"),
        (near(1, id="v1"), "id"),
        (near(1, top_k=0), "topK"),
        (near(1, top_k=100_000), "topK"),
        (near(1, ef=0), "ef"),
        (near(1, candidates=-1), "candidates"),
        (near(1, namespace="\0"), "namespace"),
        (near(1, filter={"unknown": 1}), "filter.unknown"),
        (near(1, filter={"n": {"$gt": "text"}}), "filter.n.$gt"),
        (near(1, filter={"n": {"$near": 1}}), "filter.n.$near"),
        (Upsert(vectors=[VectorItem("a", [1.0])]), "vectors[0].values"),
        (Upsert(vectors=[VectorItem("", vector(1).tolist())]), "vectors[0].id"),
        (Upsert(vectors=[VectorItem("a", vector(1).tolist(), {"x": None})]), "vectors[0].metadata.x"),
        (Upsert(vectors=[VectorItem("a", vector(1).tolist())] * 2), "vectors[1].id"),
        (Upsert(vectors=[VectorItem("a", text="words")]), "vectors[0].values"),
        (Update(id="v1"), "setMetadata"),
        (Update(id="v1", values=[1.0]), "values"),
        (Delete(), "ids"),
        (Delete(ids=["a"], delete_all=True), "ids"),
        (create(name="A b"), "name"),
        (create(name="a"), "name"),
        (create(name="b", dimension=0), "dimension"),
        (create(name="b", rescore="none"), "rescore"),
        (create(name="b", shards=1000), "shards"),
        (Reshard(shards=0), "shards"),
        (create(name="b", reduction="pca", kept=2), "sample"),
        (DropCollection(), "collection"),
        (Restore(source="a", name="s"), "collection"),
        (Tune(recall=0.9), "vectors"),
        (Tune(recall=0.9, vectors=vectors(50).tolist()), "vectors"),
        (Tune(recall=1.0, vectors=vectors(100).tolist()), "recall"),
        (Tune(recall=0.9, confidence=1.0, vectors=vectors(100).tolist()), "confidence"),
    ],
)
async def test_what_is_wrong_is_refused_by_its_name_and_nothing_changes(
    tmp_path: Path, asked: Any, param: str
) -> None:
    """Whether it is found before the collection is asked, or by it."""
    async with served(tmp_path) as service:
        await ask(service, create())
        await ask(service, upsert(5))

        with pytest.raises(InvalidRequest) as caught:
            await ask(service, asked)

        assert caught.value.param == param
        assert (await ask(service, Describe())).version == 1


async def test_what_nobody_knows_is_an_error_of_ours(tmp_path: Path) -> None:
    """Not of who asks."""
    async with served(tmp_path) as service:
        with pytest.raises(EngineError, match="VectorItem cannot be asked"):
            await ask(service, VectorItem("a"))


async def test_a_deadline_that_is_over_stops_what_has_not_begun(tmp_path: Path) -> None:
    """Nothing is written, nothing searched."""
    async with served(tmp_path) as service:
        await ask(service, create())
        for asked in (upsert(5), near(1), Compact(), create("b")):
            with pytest.raises(DeadlineExceeded, match="before this was begun"):
                await ask(service, asked, seconds=-1.0)

        assert (await ask(service, Describe())).version == 0


async def test_a_deadline_ends_the_wait_for_a_thread(tmp_path: Path) -> None:
    """What has begun goes on, and the caller is told so."""
    async with served(tmp_path) as service:
        await ask(service, create())
        collection = service._holding.known("a").collection
        with collection._state.writing, pytest.raises(DeadlineExceeded, match="may still be done"):
            await ask(service, upsert(5), seconds=0.05)

        while collection.version == 0:
            await ask(service, Fetch(ids=[]))
        assert (await ask(service, Describe())).total_vector_count == 5


async def test_a_folder_has_one_server(tmp_path: Path) -> None:
    """The second is told who has it, and the first goes on."""
    async with served(tmp_path) as service:
        await ask(service, create())

        with pytest.raises(FolderInUse, match="is open in process"):
            async with served(tmp_path):
                raise AssertionError("opened twice")

        assert (await ask(service, upsert(5))).upserted_count == 5


async def test_what_was_acknowledged_is_there_after_the_end(tmp_path: Path) -> None:
    """Even if the log is synced now and then only."""
    late = msgspec.structs.replace(
        SMALL, durability=msgspec.structs.replace(SMALL.durability, fsync="interval", interval_ms=60_000)
    )
    async with served(tmp_path, late) as service:
        await ask(service, create())
        await ask(service, upsert(10))

    async with served(tmp_path, late) as service:
        assert (await ask(service, Describe())).total_vector_count == 10


async def test_the_end_does_not_wait_for_what_takes_minutes(tmp_path: Path) -> None:
    """Tuning that runs is given up."""
    service: LocalVectors
    async with served(tmp_path) as service:
        await ask(service, create())
        await ask(service, upsert(300))
        queries = vectors(1000, first=1000).tolist()
        with pytest.raises(DeadlineExceeded):
            await ask(service, Tune(recall=0.99, vectors=queries), seconds=0.01)
        began = time.monotonic()

    assert time.monotonic() - began < 2.0
