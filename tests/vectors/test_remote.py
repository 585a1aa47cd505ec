"""A worker asks the process that has the collections over a real socket, and gets what that would have answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from collections_of import vector, vectors
from served import ask, create, served, upsert

from paceline.base.errors import DeadlineExceeded, EngineError, InvalidRequest, NotFound
from paceline.base.vectors_api import ANSWER
from paceline.base.vectors_collections import (
    Compact,
    ComparePrecisions,
    Describe,
    DescribeCollection,
    DropCollection,
    ListCollections,
    ListSnapshots,
    Reencode,
    Reshard,
    Restore,
    Snapshot,
    Tune,
    Verify,
)
from paceline.base.vectors_records import Delete, Fetch, ListIds, Matched, Query, Update
from paceline.flow.channel import Channel, ChannelServer
from paceline.vectors.remote import PREFIX, RemoteVectors, VectorsHost
from paceline.vectors.service import LocalVectors

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Channels are asyncio's."""
    return "asyncio"


@asynccontextmanager
async def linked(folder: Path) -> AsyncIterator[tuple[RemoteVectors, LocalVectors]]:
    """Both ends of a socket, and the collections behind it."""
    async with served(folder / "store") as service:
        host = ChannelServer(folder / "socket", VectorsHost(service).answer)
        await host.start()
        channel = Channel(folder / "socket")
        try:
            yield RemoteVectors(channel), service
        finally:
            await channel.close()
            await host.close()


ALL = [
    create("a"),
    upsert(120, collection="a"),
    Update(id="v3", set_metadata={"list": ["x", "y"]}),
    Fetch(ids=["v3", "nobody"]),
    ListIds(limit=2, prefix="v1"),
    Query(vector=vector(1).tolist(), include_metadata=True, include_values=True),
    Query(id="v3", filter={"list": "x"}),
    Describe(),
    ListCollections(),
    DescribeCollection(),
    Tune(recall=0.9, vectors=vectors(120, first=1000).tolist(), apply=False),
    Compact(),
    Verify(),
    Snapshot(name="s"),
    ListSnapshots(),
    Restore(collection="b", source="a", name="s"),
    Reencode(collection="b", precision="fp16"),
    Reshard(collection="b", shards=1),
    Delete(ids=["v1"], collection="a"),
    DropCollection(collection="b"),
]


async def test_every_answer_is_of_its_type(tmp_path: Path) -> None:
    """What is asked and what is answered arrives as it was sent."""
    async with linked(tmp_path) as (remote, service):
        for asked in ALL:
            answer = await ask(remote, asked)
            assert type(answer) is ANSWER[type(asked)]
            if type(asked) in {Fetch, Query, Describe, ListIds, ListCollections}:
                assert answer == await ask(service, asked)

    assert {type(asked) for asked in ALL} == set(ANSWER) - {ComparePrecisions}  # wants 1,000 records


@pytest.mark.parametrize(
    ("asked", "error", "param"),
    [
        (Query(vector=[1.0]), InvalidRequest, "vector"),
        (Query(vector=vector(1).tolist(), collection="b"), NotFound, "collection"),
        (Query(id="nobody"), NotFound, "id"),
        (ComparePrecisions(), InvalidRequest, "precision"),
    ],
)
async def test_errors_arrive_as_they_were_raised(
    tmp_path: Path, asked: Any, error: type[Exception], param: str
) -> None:
    """With the name of what is at fault."""
    async with linked(tmp_path) as (remote, _):
        await ask(remote, create("a"))

        with pytest.raises(error) as caught:
            await ask(remote, asked)

        assert type(caught.value) is error
        assert caught.value.param == param


async def test_the_deadline_travels(tmp_path: Path) -> None:
    """It is an instant of the host's one clock."""
    async with linked(tmp_path) as (remote, service):
        with pytest.raises(DeadlineExceeded):
            await remote.answer(create("a"), deadline_at=time.monotonic() - 1)

        assert (await ask(service, ListCollections())).collections == []


async def test_answers_are_kept_where_the_collections_are(tmp_path: Path) -> None:
    """A worker does not know their version; the other process looks before it searches."""
    async with linked(tmp_path) as (remote, service):
        await ask(remote, create("a"))
        await ask(remote, upsert(10))
        query = Query(vector=vector(1).tolist())
        first = await ask(remote, query)

        assert remote.hit(query) is None
        assert await ask(remote, query) == first
        assert service.stats()["vectors"]["cached_total"] == 1
        assert remote.stats() == {}


async def test_health_is_what_the_other_process_said_last(tmp_path: Path) -> None:
    """And failing when it is not there."""
    async with linked(tmp_path) as (remote, service):
        await ask(remote, create("a"))
        watching = asyncio.ensure_future(remote.watch())
        while remote.health().get("collections") != 1:
            await ask(remote, ListCollections())
        assert remote.health() == service.health()
        watching.cancel()

    with pytest.raises(EngineError):
        await ask(remote, ListCollections())
    assert remote.health()["status"] == "failing"


async def test_what_the_other_end_does_not_know_is_told(tmp_path: Path) -> None:
    """As after an upgrade that only one process has seen."""
    async with linked(tmp_path) as (remote, _):
        with pytest.raises(EngineError, match=r"does not know the call 'vectors\.sing'"):
            await remote._channel.call(f"{PREFIX}sing", None)
        with pytest.raises(EngineError, match="nobody here knows 'Sing'"):
            await remote._channel.call(f"{PREFIX}answer", ["Sing", b"", 0.0])
        with pytest.raises(EngineError, match="Matched cannot be asked"):
            await ask(remote, Matched("a", 1.0))
