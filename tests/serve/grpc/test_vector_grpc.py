"""Vectors over gRPC: a real channel to a real server over a real store, and Pinecone's own client."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from pinecone import Pinecone
from pinecone.errors.exceptions import NotFoundError, UnauthorizedError

from paceline.base.errors import ConfigError, PacelineError, Rejected, all_errors
from paceline.base.vectors_collections import CreateCollection
from paceline.base.vectors_records import Query
from paceline.serve.asgi import Application
from paceline.serve.grpc import vector_service_pb2 as pb
from paceline.serve.grpc.status import details_of, status_of, trailing_of
from paceline.serve.grpc.vector_grpc import METHODS, SERVICE, VectorGrpc, listening
from paceline.serve.policy import AuthPolicy, CompressionPolicy, ServePolicy
from paceline.vectors.policy import VectorsPolicy
from paceline.vectors.service import LocalVectors
from paceline.vectors.store import VectorStore

TOKEN = "only-for-tests"
ANSWERS = {
    name: getattr(pb, method.request.DESCRIPTOR.name.replace("Request", "Response"))
    for name, method in METHODS.items()
}


class Served:
    """A server and a channel to it."""

    def __init__(self, application: Application, channel: grpc.aio.Channel, port: int) -> None:
        self.application = application
        self.channel = channel
        self.port = port

    async def call(
        self, name: str, *, token: str | None = TOKEN, timeout_s: float = 30, **fields: Any
    ) -> Any:
        """Call one method as its name says, with the key in the metadata."""
        metadata = [] if token is None else [("api-key", token)]
        if "collection" in fields:
            metadata.append(("collection", fields.pop("collection")))
        ask = self.channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=ANSWERS[name].FromString,
        )
        return await ask(METHODS[name].request(**fields), metadata=metadata, timeout=timeout_s)


@contextlib.asynccontextmanager
async def served(folder: Path, vectors: Any = None) -> AsyncIterator[Served]:
    policy = VectorsPolicy(folder=str(folder))
    local = LocalVectors(VectorStore(folder, policy), policy)
    await local.start()
    try:
        await local.answer(CreateCollection(name="films", dimension=2), deadline_at=time.monotonic() + 30)
        application = Application(
            vectors=vectors or local,
            policy=ServePolicy(max_body_bytes=1 << 16),
            auth=AuthPolicy(token=TOKEN),
            compression=CompressionPolicy(),
        )
        service = VectorGrpc(vectors or local, application.entrance, application.metrics)
        async with (
            application.life(),
            listening(service, "127.0.0.1:0", max_bytes=1 << 16, grace_s=1.0) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            yield Served(application, channel, port)
    finally:
        await local.close()


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., Any]:
    """Run a scenario against a server of its own."""

    def run(scenario: Callable[[Served], Awaitable[Any]], vectors: Any = None) -> Any:
        async def whole() -> Any:
            async with served(tmp_path, vectors) as it:
                return await scenario(it)

        return asyncio.run(whole())

    return run


async def with_films(it: Served) -> None:
    vectors = [pb.Vector(id="alien", values=[1.0, 0.0]), pb.Vector(id="dune", values=[0.6, 0.8])]
    vectors[1].metadata.update({"year": 2021, "tags": ["space", "desert"], "seen": True, "rating": 8.5})
    assert (await it.call("Upsert", vectors=vectors)).upserted_count == 2


def test_all_calls_do_what_they_say(play: Any) -> None:
    """Written, found, read, listed, changed, counted, deleted."""

    async def scenario(it: Served) -> None:
        await with_films(it)

        found = await it.call("Query", vector=[1.0, 0.1], top_k=5, include_values=True, include_metadata=True)
        near = await it.call("Query", id="dune", top_k=1, filter={"year": {"$gte": 2000}})
        await it.call("Update", id="alien", set_metadata={"year": 1979}, values=[0.0, 1.0])
        read = await it.call("Fetch", ids=["alien", "zardoz"])
        first = await it.call("List", limit=1)
        last = await it.call("List", limit=1, pagination_token=first.pagination.next)
        counted = await it.call("DescribeIndexStats")
        await it.call("Delete", ids=["alien"])
        after = await it.call("DescribeIndexStats", collection="films")

        assert [one.id for one in found.matches] == ["alien", "dune"]
        assert list(found.matches[0].values) == [1.0, 0.0]
        dune = dict(found.matches[1].metadata)
        assert (dune["year"], list(dune["tags"]), dune["seen"], dune["rating"]) == (
            2021,
            ["space", "desert"],
            True,
            8.5,
        )
        assert [(one.id, one.score) for one in near.matches] == [("dune", pytest.approx(1.0, abs=1e-3))]
        assert set(read.vectors) == {"alien"}
        assert (list(read.vectors["alien"].values), dict(read.vectors["alien"].metadata)) == (
            [0.0, 1.0],
            {"year": 1979},
        )
        assert [one.id for one in (*first.vectors, *last.vectors)] == ["alien", "dune"]
        assert not last.HasField("pagination")
        assert (counted.dimension, counted.metric, counted.namespaces[""].vector_count) == (2, "cosine", 2)
        assert after.total_vector_count == 1

    play(scenario)


def test_pinecones_own_client_works(play: Any) -> None:
    """Its gRPC client, given our address and a token of ours."""

    def ask(port: int) -> None:
        with Pinecone(api_key=TOKEN, grpc_scheme="http").index(host=f"127.0.0.1:{port}", grpc=True) as index:
            assert index.upsert(vectors=[("a", [1.0, 0.0], {"n": 1}), ("b", [0.0, 1.0])]).upserted_count == 2
            matches = index.query(vector=[1.0, 0.1], top_k=2, include_metadata=True).matches
            assert [(one.id, one.metadata) for one in matches] == [("a", {"n": 1.0}), ("b", None)]
            assert set(index.fetch(ids=["a", "c"]).vectors) == {"a"}
            index.update(id="b", set_metadata={"n": 2})
            assert [one.id for one in index.query(vector=[1.0, 0.0], top_k=5, filter={"n": 2}).matches] == [
                "b"
            ]
            assert [item.id for page in index.list() for item in page.vectors] == ["a", "b"]
            index.delete(ids=["a"])
            assert index.describe_index_stats().total_vector_count == 1
            with pytest.raises(NotFoundError, match="not_found"):
                index.query(id="zardoz", top_k=1)
        with (
            Pinecone(api_key="wrong", grpc_scheme="http").index(host=f"127.0.0.1:{port}", grpc=True) as index,
            pytest.raises(UnauthorizedError),
        ):
            index.describe_index_stats()

    async def scenario(it: Served) -> None:
        await asyncio.to_thread(ask, it.port)

    play(scenario)


@pytest.mark.parametrize(
    ("name", "fields", "status", "told"),
    [
        ("Query", {"vector": [1.0], "top_k": 1}, grpc.StatusCode.INVALID_ARGUMENT, "has 1 numbers"),
        ("Query", {"vector": [1.0, 0.0]}, grpc.StatusCode.INVALID_ARGUMENT, "0"),
        ("Query", {"id": "zardoz", "top_k": 1}, grpc.StatusCode.NOT_FOUND, "zardoz"),
        ("Query", {"vector": [1.0, 0.0], "top_k": 1, "collection": "plays"}, grpc.StatusCode.NOT_FOUND, "plays"),
        ("Query", {"top_k": 1, "sparse_vector": pb.SparseValues(indices=[1])}, grpc.StatusCode.INVALID_ARGUMENT, "sparse"),
        ("List", {"limit": 0}, grpc.StatusCode.INVALID_ARGUMENT, "limit is 0"),
        ("Delete", {}, grpc.StatusCode.INVALID_ARGUMENT, "one of"),
        ("DescribeIndexStats", {"filter": {"a": 1}}, grpc.StatusCode.INVALID_ARGUMENT, "filter"),
        ("Upsert", {"vectors": [pb.Vector(id="a", values=[0.0, 0.0])]}, grpc.StatusCode.INVALID_ARGUMENT, "zero"),
        ("Query", {"vector": [1.0, 0.0], "top_k": 1, "token": None}, grpc.StatusCode.UNAUTHENTICATED, "no token"),
        ("Query", {"vector": [1.0, 0.0], "top_k": 1, "token": "guess"}, grpc.StatusCode.UNAUTHENTICATED, "not known"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_code(play: Any, name: str, fields: Any, status: Any, told: str) -> None:
    """The status, the stable code first in the details, and alone in the trailing metadata."""

    async def scenario(it: Served) -> None:
        await with_films(it)
        with pytest.raises(grpc.aio.AioRpcError, match=told) as caught:
            await it.call(name, **fields)

        assert caught.value.code() == status
        code = dict(caught.value.trailing_metadata())["paceline-code"]
        assert caught.value.details().startswith(f"{code}: ")
        assert (await it.call("DescribeIndexStats")).total_vector_count == 2

    play(scenario)


def test_what_is_no_message_is_a_mistake(play: Any) -> None:
    """Bytes that protobuf cannot read."""

    async def scenario(it: Served) -> None:
        ask = it.channel.unary_unary(f"/{SERVICE}/Query")
        with pytest.raises(grpc.aio.AioRpcError, match="no QueryRequest") as caught:
            await ask(b"\xff\xff", metadata=[("api-key", TOKEN)])
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    play(scenario)


class Recording:
    """A service that remembers the time it was given, and fails or waits as it is told."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.left_s: list[float] = []
        self.failure = failure
        self.was_cancelled = asyncio.Event()

    def hit(self, query: Query) -> None:
        return None

    def stats(self) -> dict[str, dict[str, float]]:
        return {}

    def health(self) -> dict[str, object]:
        return {"status": "ok"}

    async def answer(self, asked: Any, *, deadline_at: float) -> Any:
        self.left_s.append(deadline_at - time.monotonic())
        if self.failure is not None:
            raise self.failure
        try:
            await asyncio.Event().wait()
        finally:
            self.was_cancelled.set()


def test_the_calls_deadline_is_the_services(play: Any) -> None:
    """A call that ends by its deadline is given up here too; without one `serve.timeout_s` holds."""
    recording = Recording()

    async def scenario(it: Served) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await it.call("Query", id="a", top_k=1, timeout_s=0.2)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(recording.was_cancelled.wait(), 5)
        assert 0 < recording.left_s[0] <= 0.2

        recording.failure = ValueError("a bug")
        with pytest.raises(grpc.aio.AioRpcError, match="internal_error") as caught:
            await it.call("Query", id="a", top_k=1, timeout_s=None)  # type: ignore[arg-type]
        assert caught.value.code() == grpc.StatusCode.INTERNAL
        assert 29 < recording.left_s[1] <= 30

    play(scenario, recording)


def test_a_server_that_is_stopping_says_so(play: Any) -> None:
    """New calls are refused as retryable; the metrics count calls as they count HTTP's."""

    async def scenario(it: Served) -> None:
        await with_films(it)
        it.application.drain()
        with pytest.raises(grpc.aio.AioRpcError, match="stopping") as caught:
            await it.call("Query", vector=[1.0, 0.0], top_k=1)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        counted = msgspec.json.encode(it.application.metrics.registry.snapshot()).decode()
        assert "/VectorService/Upsert" in counted

    play(scenario)


def test_a_port_that_is_taken_is_a_wrong_setting(play: Any) -> None:
    """It is told at the start."""

    async def scenario(it: Served) -> None:
        service = VectorGrpc(Recording(), it.application.entrance, it.application.metrics)
        with pytest.raises(ConfigError, match="another port"):
            async with listening(service, f"127.0.0.1:{it.port}", max_bytes=1 << 16, grace_s=0):
                pass

    play(scenario)


def test_every_error_has_a_status() -> None:
    """All of the tree; the code, the field and the wait are told to programs."""
    for kind in (kind for kind in all_errors() if kind.__module__ == PacelineError.__module__):
        error = (
            kind("why", retry_after_s=0.25, param="é")
            if issubclass(kind, Rejected)
            else kind("why", param="é")
        )

        assert status_of(error) in grpc.StatusCode
        assert details_of(error) == f"{kind.code}: why"
        trailing = dict(trailing_of(error))
        assert (trailing["paceline-code"], trailing["paceline-param"]) == (kind.code, "?")
        assert trailing.get("retry-after-ms") == ("250" if issubclass(kind, Rejected) else None)
    assert status_of(PacelineError("why")) == grpc.StatusCode.INTERNAL
