"""Pinecone's own Python client against this server: moving is another host."""

from __future__ import annotations

import numpy as np
import pinecone
import pytest
from pinecone.errors.exceptions import ApiError, UnauthorizedError

from paceline.serve.policy import AuthPolicy

ROWS = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32).tolist()


@pytest.fixture
def url(build, serve, vectors):
    """A server that wants a token."""
    with serve(build(vectors=vectors, auth=AuthPolicy(token="secret")).app) as address:
        yield address


@pytest.fixture
def client(url):
    with pinecone.Pinecone(api_key="secret", host=f"{url}/v1") as made:
        yield made


@pytest.fixture
def index(client, url):
    """An index of five records, reached as the guide says."""
    client.create_index(
        "demo", dimension=8, metric="cosine", spec=pinecone.ServerlessSpec(cloud="aws", region="eu")
    )
    with client.Index(host=f"{url}/v1/collections/demo") as made:
        records = [(f"r{i}", row, {"n": i}) for i, row in enumerate(ROWS)]
        assert made.upsert(vectors=records, namespace="part").upserted_count == 5
        yield made


def test_indexes_are_made_listed_described_and_deleted(client, url):
    client.create_index("first", dimension=8, metric="dotproduct")
    client.indexes.create(
        name="second",
        schema={"fields": {"_values": {"type": "dense_vector", "dimension": 3, "metric": "euclidean"}}},
    )
    second = client.describe_index("second")
    client.delete_index("first")

    assert client.list_indexes().names() == ["second"]
    assert (client.has_index("first"), client.has_index("second")) == (False, True)
    assert (second.dimension, second.metric, second.host) == (3, "euclidean", f"{url}/v1/collections/second")
    assert second.status.ready


def test_an_index_is_reached_by_its_name(client, index):
    with client.Index("demo") as named:
        assert named.describe_index_stats().total_vector_count == 5


def test_records_are_found_with_a_filter(index):
    reply = index.query(
        vector=ROWS[2],
        top_k=2,
        namespace="part",
        filter={"n": {"$gte": 2}},
        include_metadata=True,
        include_values=True,
    )

    assert (reply.matches[0].id, reply.matches[0].metadata, reply.namespace) == ("r2", {"n": 2}, "part")
    np.testing.assert_allclose(reply.matches[0].values, ROWS[2], rtol=1e-6)
    assert reply.matches[0].score > reply.matches[1].score


def test_records_are_fetched_changed_listed_counted_and_deleted(index):
    index.update(id="r1", set_metadata={"n": 10}, namespace="part")
    index.update(id="r1", values=ROWS[0], namespace="part")
    fetched = index.fetch(ids=["r1", "nobody"], namespace="part")
    pages = [[item.id for item in page.vectors] for page in index.list(namespace="part", prefix="r", limit=2)]
    index.delete(ids=["r1"], namespace="part")
    index.delete(filter={"n": {"$eq": 0}}, namespace="part")
    stats = index.describe_index_stats()

    assert (list(fetched.vectors), fetched.vectors["r1"].metadata) == (["r1"], {"n": 10})
    np.testing.assert_allclose(fetched.vectors["r1"].values, ROWS[0], rtol=1e-6)
    assert pages == [["r0", "r1"], ["r2", "r3"], ["r4"]]
    assert (stats.dimension, stats.namespaces["part"].vector_count) == (8, 3)


def test_its_exceptions_carry_our_errors(index, url):
    with pytest.raises(ApiError, match="vector has 1 numbers, the collection's vectors have 8"):
        index.query(vector=[1.0], top_k=1)
    with (
        pinecone.Pinecone(api_key="wrong", host=f"{url}/v1") as stranger,
        pytest.raises(UnauthorizedError, match="token is not known"),
    ):
        stranger.list_indexes()


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"a": {"type": "sparse_vector"}}, "field 'a' is of type 'sparse_vector'"),
        (
            {name: {"type": "dense_vector", "dimension": 2, "metric": "cosine"} for name in ("a", "b")},
            "field 'a' is of type 'dense_vector', of 2 fields",
        ),
    ],
)
def test_an_index_of_other_than_one_dense_vector_is_refused(client, schema, told):
    with pytest.raises(ApiError, match=told):
        client.indexes.create(name="demo", schema={"fields": schema})


def test_what_would_be_lost_is_refused(client):
    with pytest.raises(ApiError, match="deletion_protection"):
        client.create_index("demo", dimension=8, deletion_protection="enabled")
    with pytest.raises(ApiError, match="unknown field `tags`"):
        client.create_index("demo", dimension=8, tags={"team": "search"})
