"""Several collections in one folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from collections_of import DIMENSIONS, SMALL, add, ids_of, names

from paceline.base.errors import InvalidRequest, NotFound
from paceline.vectors.policy import Schema
from paceline.vectors.store import VectorStore

SCHEMA = Schema(dimensions=DIMENSIONS)


def test_collections_are_made_listed_reopened_and_dropped(tmp_path: Path) -> None:
    with VectorStore(tmp_path / "store", SMALL) as store:
        add(store.create("one", SCHEMA), 20)
        store.create("two", SCHEMA)
        assert store.names() == ["one", "two"]
    with VectorStore(tmp_path / "store", SMALL) as store:
        assert sorted(ids_of(store.collection("one"))) == sorted(names(20))
        assert store.collection("one") is store.collection("one")
        store.drop("one")
        assert store.names() == ["two"]
        assert [file.name for file in (tmp_path / "store").iterdir()] == ["two"]


def test_an_unknown_collection_is_told_with_those_there_are(tmp_path: Path) -> None:
    with VectorStore(tmp_path) as store:
        with pytest.raises(NotFound, match="there are: none"):
            store.collection("one")
        store.create("two", SCHEMA)
        with pytest.raises(NotFound, match="there are: two"):
            store.drop("one")


@pytest.mark.parametrize("name", ["", "../up", "A", "-a", "a" * 64, "a.b", 5])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with VectorStore(tmp_path) as store, pytest.raises(InvalidRequest, match="collection name"):
        store.create(name, SCHEMA)


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with VectorStore(tmp_path) as store:
        store.create("one", SCHEMA)
        with pytest.raises(InvalidRequest, match="exists"):
            store.create("one", SCHEMA)


def test_a_snapshot_becomes_a_collection(tmp_path: Path) -> None:
    with VectorStore(tmp_path / "store", SMALL) as store:
        one = store.create("one", SCHEMA)
        add(one, 40)
        one.snapshot(tmp_path / "snapshot")

        assert sorted(ids_of(store.restore("back", tmp_path / "snapshot"))) == sorted(names(40))


def test_a_schema_that_would_lose_the_vectors_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="rescore fp16"):
        Schema(dimensions=8, precision="int8", rescore="none")
    with pytest.raises(InvalidRequest, match="cannot be kept"):
        Schema(dimensions=8, reduction="truncate", kept=9)
