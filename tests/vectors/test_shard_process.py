"""A shard in another process is one like all others, until it is killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from collections_of import DIMENSIONS, vector

from paceline.base.errors import EngineError, Unreachable
from paceline.vectors.collection import Collection
from paceline.vectors.policy import Schema, ShardPolicy, VectorsPolicy
from paceline.vectors.record import Record
from paceline.vectors.remote_shard import RemoteShard
from paceline.vectors.shard_process import ShardProcess
from paceline.vectors.sharded import ShardedCollection

SCHEMA = Schema(dimensions=DIMENSIONS)


def opened(folder: Path, name: str) -> ShardProcess:
    """A process for the collection of this name."""
    process = ShardProcess(folder / name, folder / f"{name}.sock")
    try:
        process.wait_until_open()
    except EngineError:
        process.close()
        raise
    return process


@pytest.mark.slow
def test_a_process_for_each_shard(tmp_path: Path) -> None:
    """A killed process is a missing shard, started again it has all that was acknowledged."""
    for name in "ab":
        Collection.create(tmp_path / name, SCHEMA).close()
    processes = {name: opened(tmp_path, name) for name in "ab"}
    shards = {name: RemoteShard(tmp_path / f"{name}.sock") for name in "ab"}
    sharded = ShardedCollection(shards, SCHEMA, policy=VectorsPolicy(shards=ShardPolicy(timeout_s=60)))

    sharded.upsert([Record(f"v{i}", vector(i), {"n": i}) for i in range(100)])
    assert len(sharded.query(vector(0), 100)[0]) == 100

    processes["a"].kill()
    partial = sharded.query(vector(0), 100)
    assert list(partial.missing) == ["a"]
    assert 0 < len(partial[0]) < 100
    with pytest.raises(Unreachable, match="shard 'a' is missing"):
        sharded.upsert([Record(f"w{i}", vector(i)) for i in range(20)])

    processes["a"] = opened(tmp_path, "a")
    sharded.upsert([Record(f"w{i}", vector(i)) for i in range(20)])
    assert len(sharded.query(vector(0), 1000)[0]) == 120
    sharded.close()
    for process in processes.values():
        process.close()


@pytest.mark.slow
def test_a_shard_that_cannot_open_its_folder_says_why(tmp_path: Path) -> None:
    """Instead of a socket that nobody answers."""
    with pytest.raises(EngineError, match=r"did not start: .*nothing"):
        opened(tmp_path, "nothing")


def test_ctrl_c_of_the_terminal_is_not_for_it(tmp_path: Path) -> None:
    """It goes to a whole group of processes; whoever started the shard ends it, after its own calls."""
    Collection.create(tmp_path / "a", SCHEMA).close()
    process = opened(tmp_path, "a")
    try:
        assert os.getpgid(process.pid) != os.getpgid(0)
    finally:
        process.close()
