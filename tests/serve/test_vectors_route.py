"""Collections of vectors over HTTP: records, collections, both headers of a token, cached hits, MessagePack."""

from __future__ import annotations

import base64
import json

import msgspec
import numpy as np
import pytest
from embedder import DIMENSIONS
from vectors_caller import ROWS, fill, ids, told

from paceline.flow.limiter import LimitPolicy
from paceline.serve.access_log import AccessLog
from paceline.serve.policy import AuthPolicy, CompressionPolicy

# -- records --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/vectors/query", "/v1/collections/demo/query"])
def test_the_nearest_records_come_first(caller, path):
    reply = caller.post(path, json={"vector": ROWS[3], "topK": 2, "includeMetadata": True})

    best = reply.json()["matches"][0]
    assert (best["id"], best["metadata"], best["score"]) == ("r3", {"n": 3}, pytest.approx(1.0, abs=1e-3))
    assert "server-timing" in reply.headers


def test_a_filter_and_an_id_are_taken(caller):
    filtered = caller.post("/v1/vectors/query", json={"id": "r0", "filter": {"n": {"$gte": 4}}})

    assert sorted(ids(filtered)) == ["r4", "r5"]


def test_values_travel_as_base64_too(caller):
    packed = base64.b64encode(np.float32(ROWS[1]).tobytes()).decode()
    reply = caller.post("/v1/vectors/query", json={"vector": packed, "topK": 1, "includeValues": True})

    values = np.frombuffer(base64.b64decode(reply.json()["matches"][0]["values"]), "<f4")
    np.testing.assert_allclose(values, ROWS[1], rtol=1e-6)


@pytest.mark.parametrize("base", ["/v1/vectors", "/v1/collections/demo/vectors"])
def test_records_are_fetched_listed_changed_and_deleted(caller, base):
    caller.post(f"{base}/update", json={"id": "r1", "setMetadata": {"n": 10}})
    by_body = caller.post(f"{base}/fetch", json={"ids": ["r1", "nobody"], "includeValues": False}).json()
    by_query = caller.get(f"{base}/fetch?ids=r1&ids=nobody&includeValues=false&namespace=").json()
    page = caller.get(f"{base}/list?prefix=r&limit=4").json()
    rest = caller.get(f"{base}/list", params={"limit": 4, "paginationToken": page["pagination"]["next"]})
    deleted = caller.post(f"{base}/delete", json={"ids": ["r1", "nobody"]}).json()
    left = caller.post(f"{base}/list", json={}).json()

    assert by_body == by_query == {"vectors": {"r1": {"id": "r1", "metadata": {"n": 10}}}}
    assert [item["id"] for item in page["vectors"] + rest.json()["vectors"]] == [f"r{i}" for i in range(6)]
    assert "pagination" not in rest.json()
    assert deleted.get("deletedCount", 1) == 1
    assert "r1" not in [item["id"] for item in left["vectors"]]


@pytest.mark.parametrize(
    "path", ["/v1/vectors/describe_index_stats", "/v1/collections/demo/describe_index_stats"]
)
def test_a_collection_tells_its_counts(caller, path):
    by_body, by_query = caller.post(path).json(), caller.get(path).json()

    assert by_body.pop("details").keys() == by_query.pop("details").keys()  # whose sizes change by themselves
    assert by_body == by_query
    assert (by_body["dimension"], by_body["totalVectorCount"]) == (DIMENSIONS, 6)
    assert by_body["namespaces"][""] == {"vectorCount": 6}


# -- collections ----------------------------------------------------------------------------------------------


def test_collections_are_made_listed_told_and_dropped(caller):
    made = caller.post("/v1/collections", json={"name": "other", "dimension": 3, "metric": "dotproduct"})
    listed = [card["name"] for card in caller.get("/v1/collections").json()["collections"]]
    card = caller.get("/v1/collections/other").json()
    dropped = caller.delete("/v1/collections/other")

    assert listed == ["demo", "other"]
    assert made.json() == card
    assert (card["dimension"], dropped.json()) == (3, {})
    assert told(caller.get("/v1/collections/other"))[:2] == (404, "not_found")


def test_a_collection_of_no_dimension_takes_the_model_s(caller):
    assert caller.post("/v1/collections", json={"name": "texts"}).json()["dimension"] == DIMENSIONS


def test_collections_are_cared_for(caller):
    compacted = caller.post("/v1/collections/demo/compact")
    verified = caller.post("/v1/collections/demo/verify")

    assert compacted.json()["records"] == 6
    assert verified.json() == {}


def test_what_the_path_names_may_be_said_again_but_not_otherwise(caller):
    again = caller.post("/v1/collections/demo/query", json={"collection": "demo", "id": "r0"})
    otherwise = caller.post("/v1/collections/demo/query", json={"collection": "other", "id": "r0"})

    assert again.status_code == 200
    assert told(otherwise) == (400, "invalid_request", "collection")


# -- the entrance ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": "Bearer secret"}, 200),
        ({"api-key": "secret"}, 200),
        ({"authorization": "Bearer wrong", "api-key": "secret"}, 401),
        ({"api-key": "wrong"}, 401),
        ({}, 401),
    ],
)
def test_a_token_comes_in_either_of_two_headers(calling, headers, status):
    made = calling(auth=AuthPolicy(token="secret"))

    assert made.get("/v1/collections", headers=headers).status_code == status
    assert made.post("/v1/embeddings", json={"input": "a"}, headers=headers).status_code == status


def test_limits_count_calls_of_every_path(calling):
    made = calling(limits=LimitPolicy(rpm=2))
    replies = [made.get(path) for path in ("/v1/collections", "/v1/snapshots", "/v1/vectors/list")]

    assert told(replies[2])[:2] == (429, "rate_limited")
    assert replies[0].headers["x-ratelimit-limit-requests"] == "2"


def test_a_deadline_that_has_passed_is_told(caller):
    reply = caller.post("/v1/vectors/query", json={"id": "r0"}, headers={"x-request-timeout-ms": "0"})

    assert told(reply) == (504, "deadline_exceeded", "x-request-timeout-ms")


def test_a_query_asked_again_is_answered_at_once_until_something_is_written(caller):
    body = {"vector": ROWS[2], "topK": 3}
    tiers = []
    for _ in range(2):
        tiers += [
            caller.post("/v1/collections/demo/query", json=body).headers.get("x-paceline-cache") for _ in "ab"
        ]
        caller.post("/v1/vectors/delete", json={"ids": ["r5"]})
    page = caller.get("/metrics").text

    assert tiers == [None, "l1", None, "l1"]
    assert "paceline_vector_cached_total 2.0" in page
    assert 'paceline_vector_operation_seconds_count{operation="query"} 4' in page
    assert "paceline_vector_upserted_total 6.0" in page
    assert 'paceline_requests_total{route="/v1/collections/{name}/query",status="200"} 4' in page


def test_messagepack_is_read_and_written(caller):
    headers = {"content-type": "application/msgpack", "accept": "application/msgpack"}
    replies = [
        caller.post(
            "/v1/vectors/query",
            content=msgspec.msgpack.encode({"vector": ROWS[4], "topK": 1, "includeMetadata": True}),
            headers=headers,
        )
        for _ in range(2)
    ]

    assert [reply.headers["content-type"] for reply in replies] == ["application/msgpack"] * 2
    for reply in replies:
        assert msgspec.msgpack.decode(reply.content)["matches"][0]["metadata"] == {"n": 4}


def test_large_replies_are_compressed_for_who_takes_it(calling):
    made = calling(compression=CompressionPolicy(min_bytes=200))
    made.post("/v1/collections", json={"name": "demo", "dimension": DIMENSIONS})
    fill(made)
    body = {"vector": ROWS[0], "topK": 6, "includeValues": True}
    gzipped = [made.post("/v1/vectors/query", json=body, headers={"accept-encoding": "gzip"}) for _ in "ab"]
    plain = made.post("/v1/vectors/query", json=body, headers={"accept-encoding": "identity"})

    assert [reply.headers["content-encoding"] for reply in gzipped] == ["gzip", "gzip"]
    assert "content-encoding" not in plain.headers
    assert gzipped[0].json() == gzipped[1].json() == plain.json()


def test_the_access_log_tells_paths_rows_and_hits(calling, tmp_path):
    file = tmp_path / "access.log"
    log = AccessLog(str(file), flush_s=0.01)
    made = calling(access_log=log)
    made.post("/v1/collections", json={"name": "demo", "dimension": DIMENSIONS})
    fill(made)
    for _ in range(2):
        made.post("/v1/collections/demo/query", json={"vector": ROWS[0]})
    log.close()
    lines = [json.loads(line) for line in file.read_text().splitlines()]

    assert [(line["path"], line.get("rows"), line.get("tier")) for line in lines[1:]] == [
        ("/v1/vectors/upsert", 6, None),
        ("/v1/collections/demo/query", None, None),
        ("/v1/collections/demo/query", None, "l1"),
    ]


def test_health_tells_the_state_of_the_collections(caller):
    assert caller.get("/health").json()["vectors"]["status"] == "ok"
