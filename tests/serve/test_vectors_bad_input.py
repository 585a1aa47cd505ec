"""What is wrong with a call of a collection is told over HTTP, with the field at fault, and harms no other call."""

from __future__ import annotations

import pytest
from embedder import DIMENSIONS
from vectors_caller import ROWS, ids, told

from paceline.serve.vectors_table import OPERATIONS


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("query", {"vector": [1.0, 2.0]}, 400, "vector"),
        ("query", {"vector": [0.0] * DIMENSIONS}, 400, "vector"),
        ("query", {"vector": [1e300] * DIMENSIONS}, 400, "vector"),
        ("query", {"vector": [None] * DIMENSIONS}, 400, "vector[0]"),
        ("query", {"vector": "not base64!"}, 400, "vector"),
        ("query", {}, 400, "vector"),
        ("query", {"vector": ROWS[0], "id": "r0"}, 400, "id"),
        ("query", {"id": "nobody"}, 404, "id"),
        ("query", {"vector": ROWS[0], "topK": "ten"}, 400, "topK"),
        ("query", {"vector": ROWS[0], "filter": {"n": {"$near": 3}}}, 400, None),
        ("query", {"vector": ROWS[0], "sparseVector": {}}, 400, None),
        ("query", {"vector": ROWS[0], "collection": "nowhere"}, 404, None),
        ("upsert", {"vectors": [{"id": "a", "values": [1.0]}]}, 400, "vectors[0].values"),
        ("upsert", {"vectors": [{"id": "a"}]}, 400, "vectors[0].values"),
        ("upsert", {"vectors": [{"id": "", "values": ROWS[0]}]}, 400, None),
        ("upsert", {"vectors": [{"id": "a", "values": ROWS[0]}] * 2}, 400, None),
        ("upsert", {"vectors": [{"id": "a", "values": ROWS[0], "metadata": {"a": {"b": 1}}}]}, 400, None),
        ("fetch", {}, 400, None),
        ("list", {"limit": 0}, 400, "limit"),
        ("delete", {}, 400, None),
    ],
)
def test_bad_input_is_told_and_the_next_call_is_answered(caller, path, body, status, param):
    reply = caller.post(f"/v1/vectors/{path}", json=body)

    assert reply.status_code == status, reply.text
    assert told(reply)[1] == ("not_found" if status == 404 else "invalid_request")
    assert param is None or told(reply)[2] == param, reply.text
    assert ids(caller.post("/v1/vectors/query", json={"vector": ROWS[3], "topK": 1})) == ["r3"]


@pytest.mark.parametrize("top_k", [0, 100_000])
def test_a_k_out_of_range_is_told_with_the_limit(caller, top_k):
    reply = caller.post("/v1/vectors/query", json={"vector": ROWS[0], "topK": top_k})

    assert told(reply)[:2] == (400, "invalid_request")
    assert str(top_k) in reply.json()["detail"]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(caller, value):
    body = f'{{"vector": [{", ".join([value] * DIMENSIONS)}]}}'

    assert told(caller.post("/v1/vectors/query", content=body))[:2] == (400, "invalid_request")


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=many", "limit"), ("limit=1&limit=2", "limit"), ("depth=1", None), ("limit=0", "limit")],
)
def test_a_bad_query_string_is_told(caller, query, param):
    assert told(caller.get(f"/v1/vectors/list?{query}")) == (400, "invalid_request", param)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/vectors/query", "OPTIONS, POST"),
        ("PUT", "/v1/collections/demo", "DELETE, GET, HEAD, OPTIONS"),
        ("DELETE", "/v1/collections", "GET, HEAD, OPTIONS, POST"),
    ],
)
def test_other_methods_are_told_those_that_there_are(caller, method, path, allowed):
    reply = caller.request(method, path)

    assert told(reply)[:2] == (405, "method_not_allowed")
    assert reply.headers["allow"] == allowed


def test_paths_that_are_not_there_share_one_name_in_the_metrics(caller):
    caller.get("/v1/collections/demo/nothing")
    caller.get("/v1/collections/")
    page = caller.get("/metrics").text

    assert 'paceline_requests_total{route="other",status="404"} 2' in page
    assert "demo" not in page


def test_without_vectors_every_path_says_how_to_switch_them_on(house):
    for operation in OPERATIONS:
        for path in operation.paths:
            for method in operation.methods:
                reply = house.call(method, path.replace("{name}", "demo"), b'{"text":"a","ids":[],"id":"a"}')

                assert reply.status in {400, 404}
    reply = house.post({"vector": [1.0]}, "/v1/vectors/query")
    assert (reply.status, reply.json()["param"]) == (404, "vectors.folder")
    assert "paceline serve --vectors" in reply.json()["detail"]
