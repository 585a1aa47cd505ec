"""Every call of a shard travels over a socket and back, errors as themselves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from collections_of import DIMENSIONS, STILL, filled, names, vector, vectors

from paceline.base.errors import EngineError, InvalidRequest, NotFound
from paceline.flow.channel import ChannelServer
from paceline.vectors.collection import Collection
from paceline.vectors.filters import Filter
from paceline.vectors.policy import Schema
from paceline.vectors.record import Record
from paceline.vectors.remote_shard import RemoteShard, waited
from paceline.vectors.shard_host import ShardHost

FIRST_CALLS = """
import asyncio, sys, threading
sys.path[:0] = sys.argv[1:]
from paceline.vectors.remote_shard import waited
sys.setswitchinterval(1e-6)
together, loops = threading.Barrier(16), set()
async def running():
    return asyncio.get_running_loop()
def call():
    together.wait()
    loops.add(waited(running()))
threads = [threading.Thread(target=call) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(loops))
"""


@pytest.fixture
def near(tmp_path: Path) -> Iterator[Collection]:
    """The collection of 50 records that the shard serves."""
    with filled(tmp_path / "near", 50, STILL) as made:
        yield made


@pytest.fixture
def far(tmp_path: Path, near: Collection) -> Iterator[RemoteShard]:
    """The same over a socket."""
    server = ChannelServer(tmp_path / "s", ShardHost(near).answer)
    waited(server.start())
    shard = RemoteShard(tmp_path / "s")
    yield shard
    shard.close()
    waited(server.close())


@pytest.mark.parametrize("wanted", [None, {"n": {"$lt": 20}}, Filter.parse({"n": {"$lt": 20}})])
def test_a_query_finds_the_same(near: Collection, far: RemoteShard, wanted: dict | Filter | None) -> None:
    """Of one vector or several, with all that was asked for."""
    for asked in (vector(3), vectors(3)):
        options = {"filter": wanted, "include_metadata": True, "include_vectors": True, "ef": 50}
        expected, found = near.query(asked, 5, **options), far.query(asked, 5, **options)

        assert [[(m.id, m.score, m.metadata) for m in one] for one in found] == [
            [(m.id, m.score, m.metadata) for m in one] for one in expected
        ]
        assert (found[0][0].vector == expected[0][0].vector).all()


def test_writes_arrive(near: Collection, far: RemoteShard) -> None:
    """And what is read back is what is there."""
    version = far.version
    assert far.upsert([Record("a", vector(90), {"tags": ["x"]}), Record("b", vector(91), None, "other")]) == 2
    far.update("a", metadata={"n": 2.5}, vector=vector(92))
    assert far.delete(["v1", "nobody"]) == 1
    assert far.delete(filter={"n": {"$gte": 40}}) == 10
    assert far.delete(namespace="other", everything=True) == 1

    assert far.version == near.version > version
    assert (
        set(far.all_keys())
        == set(near.all_keys())
        == {("", name) for name in [*names(40), "a"]} - {("", "v1")}
    )
    assert far.default_ef == near.default_ef
    assert far.types == near.types == {"n": {"int", "float"}, "tags": {"strings"}}
    record = far.fetch(["a", "v1"])["a"]
    assert record.metadata == {"tags": ["x"], "n": 2.5}
    assert np.allclose(record.vector, vector(92), atol=1e-2)
    assert far.fetch(["a"], include_vectors=False)["a"].vector is None


def test_errors_travel_as_themselves(far: RemoteShard) -> None:
    """With the field at fault."""
    with pytest.raises(InvalidRequest) as caught:
        far.query(vector(1), filter={"m": 1})
    assert caught.value.param == "filter.m"
    with pytest.raises(NotFound, match="nobody"):
        far.update("nobody", metadata={})


def test_first_calls_of_several_threads_share_one_loop() -> None:
    """What one loop connects, another could not wait for."""
    told = subprocess.run(
        [sys.executable, "-c", FIRST_CALLS, *sys.path], capture_output=True, text=True, check=True
    )

    assert told.stdout == "1\n"


def test_a_process_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """At once."""
    with pytest.raises(EngineError, match="does not answer"):
        RemoteShard(tmp_path / "none").query(vector(1))


def test_a_call_of_another_version_is_named(far: RemoteShard) -> None:
    """Instead of being taken for another."""
    with pytest.raises(EngineError, match="does not know the call 'compress'"):
        far._call("compress")


def test_words_and_another_precision_travel_too(tmp_path: Path) -> None:
    """With metadata and vectors where they are asked for."""
    pytest.importorskip("tantivy")
    schema = Schema(dimensions=DIMENSIONS, text_field="text")
    with Collection.create(tmp_path / "c", schema, policy=STILL) as near:
        near.upsert([Record(f"v{i}", vector(i), {"n": i, "text": f"kite {i}"}) for i in range(20)])
        server = ChannelServer(tmp_path / "t", ShardHost(near).answer)
        waited(server.start())
        far = RemoteShard(tmp_path / "t")

        found = far.by_words(
            "kites", 5, filter={"n": {"$gt": 17}}, include_metadata=True, include_vectors=True
        )
        assert {match.id for match in found} == {"v18", "v19"}
        assert found[0].metadata == near.fetch([found[0].id])[found[0].id].metadata
        assert found[0].vector is not None
        far.reencode("fp32")
        assert near.schema.precision == "fp32"
        with pytest.raises(InvalidRequest, match="is unknown"):
            far.reencode("int4")  # type: ignore[arg-type]  # what a client may send
        far.close()
        waited(server.close())
