"""Collections of vectors over HTTP: every path, bad input, both headers of a token, cached hits, MessagePack."""

from __future__ import annotations

import base64
import json

import httpx
import msgspec
import numpy as np
import pytest
from embedder import DIMENSIONS, vector_of

from paceline.base.errors import InvalidRequest
from paceline.flow.limiter import LimitPolicy
from paceline.serve.access_log import AccessLog
from paceline.serve.policy import AuthPolicy, CompressionPolicy
from paceline.serve.vectors_table import OPERATIONS

ROWS = np.random.default_rng(0).standard_normal((6, DIMENSIONS)).astype(np.float32).tolist()


@pytest.fixture
def calling(build, serve, vectors):
    """Callers of a server with collections; arguments replace parts of the server."""
    left = []

    def start(**parts):
        house = build(**{"vectors": vectors, **parts})
        context = serve(house.app)
        caller = httpx.Client(base_url=context.__enter__(), timeout=60)
        left.extend([lambda: context.__exit__(None, None, None), caller.close])
        caller.house = house
        return caller

    yield start
    while left:
        left.pop()()


@pytest.fixture
def caller(calling):
    """A caller of an open server that has six records in the collection `demo`."""
    made = calling()
    assert made.post("/v1/collections", json={"name": "demo", "dimension": DIMENSIONS}).status_code == 200
    fill(made)
    return made


def fill(caller, **headers):
    items = [{"id": f"r{i}", "values": row, "metadata": {"n": i}} for i, row in enumerate(ROWS)]
    reply = caller.post("/v1/vectors/upsert", json={"collection": "demo", "vectors": items}, headers=headers)
    assert reply.json() == {"upsertedCount": len(ROWS)}, reply.text


def ids(reply):
    assert reply.status_code == 200, reply.text
    return [match["id"] for match in reply.json()["matches"]]


def told(reply):
    """Status, code and field at fault of a problem."""
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    return reply.status_code, problem["code"], problem.get("param")


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


# -- texts ----------------------------------------------------------------------------------------------------


@pytest.fixture
def texts(calling):
    """A caller of a server whose collection `demo` holds three texts."""
    made = calling()
    made.post("/v1/collections", json={"name": "demo"})
    items = [
        {"id": word, "text": word, "metadata": {"letters": len(word)}} for word in ("sea", "dog", "tree")
    ]
    items.append({"id": "given", "values": ROWS[0]})
    assert made.post("/v1/vectors/upsert", json={"vectors": items}).status_code == 200
    return made


def test_texts_are_embedded_in_one_request_and_kept(texts):
    kept = texts.get("/v1/vectors/fetch?ids=dog").json()["vectors"]["dog"]

    assert texts.house.embedder.calls == 1
    assert kept["metadata"] == {"letters": 3, "text": "dog"}
    np.testing.assert_allclose(kept["values"], np.frombuffer(vector_of("dog"), "<f4"), rtol=1e-6)


@pytest.mark.parametrize("path", ["/v1/search", "/v1/collections/demo/search"])
def test_a_text_finds_the_records_nearest_to_its_vector(texts, path):
    reply = texts.post(path, json={"text": "dog", "topK": 1, "filter": {"letters": 3}})

    assert ids(reply) == ["dog"]
    assert reply.json()["matches"][0]["metadata"]["text"] == "dog"


def test_a_search_asked_again_needs_neither_model_nor_search(texts):
    first, again = (texts.post("/v1/search", json={"text": "a new text"}) for _ in range(2))

    assert texts.house.embedder.calls == 2
    assert (first.headers.get("x-paceline-cache"), again.headers["x-paceline-cache"]) == (None, "l1")
    assert first.json() == again.json()


def test_a_model_that_does_not_fit_the_collection_is_named(texts):
    texts.post("/v1/collections", json={"name": "three", "dimension": 3})
    reply = texts.post("/v1/collections/three/search", json={"text": "dog"})

    assert told(reply) == (400, "invalid_request", "text")
    assert "model 'tiny' makes vectors of 8 numbers, those of collection 'three' have 3" in reply.text


def test_a_text_at_fault_is_named_by_its_place_among_the_records(texts):
    texts.house.embedder.error = InvalidRequest("input[1] is longer than the window", param="input[1]")
    items = [{"id": "a", "text": "a"}, {"id": "b", "values": ROWS[0]}, {"id": "c", "text": "c"}]
    reply = texts.post("/v1/vectors/upsert", json={"vectors": items})

    assert told(reply) == (400, "invalid_request", "vectors[2].text")
    assert reply.json()["detail"].startswith("vectors[2].text is longer")


def test_without_a_model_texts_say_what_to_set(calling):
    made = calling(embedders=[])
    made.post("/v1/collections", json={"name": "demo", "dimension": DIMENSIONS})

    searched = made.post("/v1/search", json={"text": "dog"})
    upserted = made.post("/v1/vectors/upsert", json={"vectors": [{"id": "a", "text": "a"}]})
    created = made.post("/v1/collections", json={"name": "other"})

    assert told(searched) == told(upserted) == (404, "not_found", "text")
    assert told(created) == (400, "invalid_request", "dimension")
    assert all("set embed.model" in reply.text for reply in (searched, upserted, created))


def test_a_model_that_is_not_there_is_named(texts):
    assert told(texts.post("/v1/search", json={"text": "dog", "model": "other"})) == (
        404,
        "not_found",
        "model",
    )


# -- bad input ------------------------------------------------------------------------------------------------


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
