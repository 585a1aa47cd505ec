"""Each question of collections is one request, and has its path."""

import pytest

from paceline.base.vectors_api import ANSWER
from paceline.base.vectors_collections import (
    Compact,
    ComparePrecisions,
    CreateCollection,
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
from paceline.base.vectors_records import Delete, Fetch, ListIds, Query, Search, Update, Upsert
from paceline.client.vector_messages import packed, vectors_call
from paceline.serve.vectors_table import OPERATIONS

ASKED = [
    (Upsert(vectors=[], collection="c"), "POST", "/v1/vectors/upsert"),
    (Query(id="a", collection="c"), "POST", "/v1/vectors/query"),
    (Fetch(ids=["a"], collection="c"), "POST", "/v1/vectors/fetch"),
    (Update(id="a", collection="c"), "POST", "/v1/vectors/update"),
    (Delete(ids=["a"], collection="c"), "POST", "/v1/vectors/delete"),
    (Describe(collection="c"), "POST", "/v1/vectors/describe_index_stats"),
    (ListIds(prefix="a/", collection="c"), "GET", "/v1/vectors/list?prefix=a%2F&limit=100&collection=c"),
    (Search(text="sea", collection="c"), "POST", "/v1/search"),
    (CreateCollection(name="c", dimension=2), "POST", "/v1/collections"),
    (ListCollections(), "GET", "/v1/collections"),
    (DescribeCollection(collection="c"), "GET", "/v1/collections/c"),
    (DropCollection(collection="c"), "DELETE", "/v1/collections/c"),
    (Tune(recall=0.9, collection="c"), "POST", "/v1/collections/c/tune"),
    (Compact(collection="c"), "POST", "/v1/collections/c/compact"),
    (Verify(collection="c"), "POST", "/v1/collections/c/verify"),
    (ComparePrecisions(collection="c"), "POST", "/v1/collections/c/precisions"),
    (Reencode(precision="fp16", collection="c"), "POST", "/v1/collections/c/reencode"),
    (Reshard(shards=2, collection="c"), "POST", "/v1/collections/c/reshard"),
    (Snapshot(name="s", collection="c"), "POST", "/v1/collections/c/snapshot"),
    (Restore(source="b", name="s", collection="c"), "POST", "/v1/collections/c/restore"),
    (ListSnapshots(), "GET", "/v1/snapshots"),
]


@pytest.mark.parametrize(("asked", "method", "path"), ASKED, ids=lambda value: type(value).__name__)
def test_each_question_has_its_path(asked, method, path):
    call = vectors_call(asked)

    assert (call.method, call.path) == (method, path)


def test_every_question_there_is_has_a_path():
    assert {type(asked) for asked, _, _ in ASKED} == {*ANSWER, Search}


@pytest.mark.parametrize(("asked", "method", "path"), ASKED, ids=lambda value: type(value).__name__)
def test_the_server_takes_each_question_there(asked, method, path):
    """Its table and ours name the same places."""
    places = {
        (how, where)
        for row in OPERATIONS
        if row.asked is type(asked)
        for how in row.methods
        for where in row.paths
    }

    assert (method, path.partition("?")[0].replace("/collections/c", "/collections/{name}")) in places


def test_base64_passes_as_it_is():
    assert packed("AAAAPwAAgL4=") == "AAAAPwAAgL4="
