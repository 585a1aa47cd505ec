"""What goes wrong on the way to another store comes back as our errors, and what passes is tried again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from postgres import postgres_url  # noqa: F401 - a fixture
from qdrant_server import API_KEY, QdrantServer, qdrant_server

from paceline.base.errors import (
    ConfigError,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Overloaded,
    StorageError,
    Unreachable,
)
from paceline.base.vectors_api import VectorService
from paceline.base.vectors_collections import (
    Compact,
    CreateCollection,
    Describe,
    DropCollection,
    ListCollections,
    Reshard,
    Snapshot,
    Tune,
)
from paceline.base.vectors_records import Query, Upsert, VectorItem
from paceline.vectors.adapters import open_adapter
from paceline.vectors.policy import VectorsPolicy


async def ask(service: VectorService, asked: Any, seconds: float = 30) -> Any:
    return await service.answer(asked, deadline_at=time.monotonic() + seconds)


@contextlib.asynccontextmanager
async def qdrant(api_key: str = API_KEY) -> AsyncIterator[tuple[VectorService, QdrantServer]]:
    async with (
        qdrant_server() as (url, server),
        open_adapter(VectorsPolicy(backend="qdrant", url=url, api_key=api_key)) as service,
    ):
        yield service, server


def pgvector(url: str, **settings: Any) -> Any:
    return open_adapter(VectorsPolicy(backend="pgvector", url=url, **settings))


def test_a_passing_failure_of_qdrant_is_tried_again() -> None:
    """Twice unavailable, then answered; health and counters tell."""

    async def scenario() -> None:
        async with qdrant() as (service, server):
            assert service.health()["status"] == "starting"
            server.refusals = [(503, "starting up"), (429, "too many")]

            assert (await ask(service, ListCollections())).collections == []
            assert service.health()["status"] == "ok"
            assert service.stats()["store"] | {"seconds": 0} == {
                "calls": 1, "retries": 2, "faults": 0, "seconds": 0,
            }  # fmt: skip

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (404, NotFound),
        (429, Overloaded),
        (500, StorageError),
        (503, Unreachable),
    ],
)
def test_what_qdrant_refuses_is_ours(status: int, kind: type[Exception]) -> None:
    """With its own words in the message."""

    async def scenario() -> None:
        async with qdrant() as (service, server):
            server.refusals = [(status, "because of the moon")] * 3
            with pytest.raises(kind, match="because of the moon"):
                await ask(service, ListCollections())

    asyncio.run(scenario())


def test_a_wrong_key_is_not_the_callers_fault() -> None:
    """The setting at fault is named; the caller is not told that its own token is wrong."""

    async def scenario() -> None:
        async with qdrant("wrong") as (service, _):
            with pytest.raises(StorageError, match=r"401.*vectors\.api_key"):
                await ask(service, ListCollections())
            assert service.health()["status"] == "failing"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}", "postgresql://paceline@127.0.0.1:{port}/postgres"]
)
def test_a_store_that_is_not_there_is_unreachable(url: str) -> None:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # taken, and not listening
        address = url.format(port=probe.getsockname()[1])

        async def scenario() -> None:
            policy = VectorsPolicy(backend="qdrant" if url.startswith("http") else "pgvector", url=address)
            async with open_adapter(policy) as service:
                with pytest.raises(Unreachable, match=r"vectors\.url"):
                    await ask(service, ListCollections())
                assert service.health()["status"] == "failing"

        asyncio.run(scenario())


def test_time_that_is_over_ends_the_call(postgres_url: str) -> None:  # noqa: F811 - the fixture
    """Before it begins, and while another transaction holds the table."""

    async def scenario() -> None:
        async with pgvector(postgres_url) as service:
            with pytest.raises(DeadlineExceeded):
                await ask(service, ListCollections(), seconds=-1)
            await ask(service, CreateCollection(name="held", dimension=1))
            try:
                async with await psycopg.AsyncConnection.connect(postgres_url) as other:
                    await other.execute("LOCK TABLE paceline.held")
                    with pytest.raises(DeadlineExceeded, match="did not answer"):
                        await ask(service, Describe(collection="held"), seconds=0.2)
                assert (await ask(service, Describe(collection="held"))).total_vector_count == 0
            finally:
                await ask(service, DropCollection(collection="held"))

    asyncio.run(scenario())


def test_connections_that_the_server_ended_are_made_anew(postgres_url: str) -> None:  # noqa: F811
    """As after its restart."""

    async def scenario() -> None:
        async with pgvector(postgres_url) as service:
            await ask(service, ListCollections())
            async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as other:
                await other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
            assert (await ask(service, ListCollections())).collections == []
            assert service.stats()["store"]["faults"] == 0

    asyncio.run(scenario())


def test_a_write_is_whole_or_not_at_all(postgres_url: str) -> None:  # noqa: F811
    """A record that PostgreSQL refuses takes those before it along."""

    async def scenario() -> None:
        async with pgvector(postgres_url) as service:
            await ask(service, CreateCollection(name="whole", dimension=1))
            try:
                items = [VectorItem("a", [1.0]), VectorItem("b", [1.0], {"text": "nul \0 inside"})]
                with pytest.raises(InvalidRequest, match="PostgreSQL"):
                    await ask(service, Upsert(vectors=items))
                assert (await ask(service, Describe())).total_vector_count == 0
            finally:
                await ask(service, DropCollection(collection="whole"))

    asyncio.run(scenario())


def test_a_collection_that_another_made_anew_is_seen(postgres_url: str) -> None:  # noqa: F811
    """What was known of the dropped one is forgotten with the first error."""

    async def scenario() -> None:
        async with pgvector(postgres_url) as one, pgvector(postgres_url) as other:
            await ask(one, CreateCollection(name="shared", dimension=1))
            await ask(one, Describe(collection="shared"))
            await ask(other, DropCollection(collection="shared"))
            with pytest.raises(NotFound):
                await ask(one, Describe(collection="shared"))
            await ask(other, CreateCollection(name="shared", dimension=2))
            try:
                assert (await ask(one, Describe(collection="shared"))).dimension == 2
            finally:
                await ask(other, DropCollection(collection="shared"))

    asyncio.run(scenario())


def test_the_index_is_used_and_finds_through_a_filter(postgres_url: str) -> None:  # noqa: F811
    """2,000 records, one of 100 passes: the index goes on until ten are found."""

    async def scenario() -> None:
        async with pgvector(postgres_url) as service:
            await ask(service, CreateCollection(name="many", dimension=2, metric="l2", precision="fp32"))
            try:
                items = [VectorItem(str(i), [float(i), 1.0], {"part": i % 100}) for i in range(2000)]
                await ask(service, Upsert(vectors=items))
                async with await psycopg.AsyncConnection.connect(postgres_url) as other:
                    await other.execute("SET enable_seqscan = off")
                    plan = await other.execute(
                        "EXPLAIN SELECT id FROM paceline.many ORDER BY embedding <-> '[7,1]' LIMIT 10"
                    )
                    assert "many_embedding_idx" in str(await plan.fetchall())
                found = await ask(service, Query(vector=[7.0, 1.0], top_k=10, filter={"part": 7}, ef=20))

                assert [int(one.id) for one in found.matches] == [7 + 100 * i for i in range(10)]
            finally:
                await ask(service, DropCollection(collection="many"))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"dimension": 4001}, "4000"),
        ({"dimension": 2001, "precision": "fp32"}, "fp16"),
        ({"dimension": 3, "shards": 2}, "shard"),
        ({"dimension": 3, "precision": "bf16"}, "bf16"),
        ({"dimension": 3, "reduction": "pca", "kept": 2}, "reduce"),
        ({"dimension": 0}, "dimension"),
        ({"dimension": 3, "text_field": "body"}, "body"),
    ],
)
def test_a_wish_that_cannot_be_is_refused(postgres_url: str, wish: Any, reason: str) -> None:  # noqa: F811
    """With the limit and the way out."""

    async def scenario() -> None:
        async with pgvector(postgres_url) as service:
            with pytest.raises(InvalidRequest, match=reason):
                await ask(service, CreateCollection(name="wish", **wish))

    asyncio.run(scenario())


@pytest.mark.parametrize("asked", [Tune(recall=0.99), Compact(), Snapshot(name="a"), Reshard(shards=2)])
def test_what_a_store_is_not_asked_names_another_way(postgres_url: str, asked: Any) -> None:  # noqa: F811
    """Care of the store is done there."""

    async def scenario() -> None:
        async with qdrant() as (service, server):
            with pytest.raises(InvalidRequest, match="Qdrant through this server; "):
                await ask(service, asked)
            assert server.bodies == []
        async with pgvector(postgres_url) as service:
            with pytest.raises(InvalidRequest, match="pgvector through this server; "):
                await ask(service, asked)

    asyncio.run(scenario())


def test_precisions_and_search_settings_reach_qdrant() -> None:
    """Codes are Qdrant's quantization over a copy in the wanted type; `candidates` is its oversampling."""

    async def scenario() -> None:
        async with qdrant() as (service, server):
            card = await ask(service, CreateCollection(name="codes", dimension=2, shards=3))
            assert (card.precision, card.shards) == ("int8", 3)
            wish = next(body for path, body in server.bodies if path == "/collections/codes" and body)
            assert wish["vectors"] == {"size": 2, "distance": "Cosine", "datatype": "float16"}
            assert wish["quantization_config"]["scalar"]["type"] == "int8"

            await ask(service, Upsert(vectors=[VectorItem("a", [1.0, 0.0])]))
            await ask(service, Query(vector=[1.0, 0.0], top_k=10, ef=64, candidates=40))
            assert server.bodies[-1][1]["params"] == {
                "exact": False,
                "hnsw_ef": 64,
                "quantization": {"rescore": True, "ignore": False, "oversampling": 4.0},
            }
            await ask(service, CreateCollection(name="plain", dimension=2, precision="fp32"))
            with pytest.raises(InvalidRequest, match="candidates"):
                await ask(service, Query(collection="plain", vector=[1.0, 0.0], candidates=40))

    asyncio.run(scenario())


def test_words_are_not_ranked_elsewhere(postgres_url: str) -> None:  # noqa: F811
    """A query with a text says where it can be asked."""

    async def scenario() -> None:
        async with pgvector(postgres_url) as service:
            with pytest.raises(InvalidRequest, match=r"vectors\.backend"):
                await ask(service, Query(vector=[1.0], text="space"))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("backend", "url"),
    [
        ("qdrant", "localhost:6333"),
        ("qdrant", ""),
        ("pgvector", "http://localhost"),
        ("paceline", "http://x"),
    ],
)
def test_an_address_that_cannot_be_is_told_at_the_start(backend: Any, url: str) -> None:
    """Before anything is asked."""

    async def scenario() -> None:
        with pytest.raises(ConfigError, match=r"vectors\.(url|backend)"):
            async with open_adapter(VectorsPolicy(backend=backend, url=url)):
                pass

    asyncio.run(scenario())
