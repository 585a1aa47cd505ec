"""`POST /v1/embeddings` and `/v1/infer`, called without a server."""

from __future__ import annotations

import asyncio
import base64
import logging

import msgspec
import numpy as np
import pytest
import zstandard
from embedder import DIMENSIONS, vector_of

from paceline.base.errors import CircuitOpen, DeadlineExceeded, EngineError, Overloaded
from paceline.flow.limiter import EndpointLimit, LimitPolicy
from paceline.serve.policy import AuthPolicy, CompressionPolicy, ServePolicy


def floats(text):
    return np.frombuffer(vector_of(text), dtype="<f4")


def test_a_text_becomes_a_vector(house):
    reply = house.post({"input": "hello", "model": "tiny"})

    body = reply.json()
    np.testing.assert_array_equal(np.float32(body["data"][0].pop("embedding")), floats("hello"))
    assert body == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0}],
        "model": "tiny",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
        "truncated": [],
    }


def test_base64_carries_the_same_vector(house):
    reply = house.post({"input": ["a", "b"], "encoding_format": "base64"})

    assert [base64.b64decode(row["embedding"]) for row in reply.json()["data"]] == [
        vector_of("a"),
        vector_of("b"),
    ]


def test_messagepack_in_and_out(house):
    body = msgspec.msgpack.encode({"input": "a"})

    reply = house.post(body, content_type="application/msgpack", accept="application/msgpack")

    assert reply.headers["content-type"] == "application/msgpack"
    assert msgspec.msgpack.decode(reply.body)["data"][0]["embedding"] == vector_of("a")


def test_infer_is_the_same_by_another_door(house):
    reply = house.post({"task": "embed", "input": "a", "encoding_format": "base64"}, "/v1/infer")

    assert base64.b64decode(reply.json()["data"][0]["embedding"]) == vector_of("a")


def test_infer_refuses_tasks_it_does_not_know(house):
    reply = house.post({"task": "dance", "input": "a"}, "/v1/infer")

    assert (reply.status, reply.json()["param"]) == (400, "task")


def test_a_second_call_is_answered_from_memory(house):
    first, second = house.post({"input": "a"}), house.post({"input": "a"})

    assert [first.headers["x-paceline-cache"], second.headers["x-paceline-cache"]] == ["miss", "l1"]
    assert first.headers["server-timing"].startswith('cache;desc="miss", tok;dur=0.000, queue;dur=2.000')
    assert second.headers["server-timing"] == 'cache;desc="l1", total;dur=0.002'
    assert (first.body, house.embedder.calls) == (second.body, 1)


def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(house):
    reply = house.post({"input": "a", "model": "text-embedding-3-small"})

    assert reply.status == 404
    assert reply.json()["detail"] == (
        "model 'text-embedding-3-small' is not served here; there is 'tiny' (see /v1/models)"
    )


def test_a_house_without_models_says_so(build):
    house = build()
    house.app = type(house.app)(
        policy=ServePolicy(), auth=AuthPolicy(), compression=CompressionPolicy(), limiter=None
    )

    assert "embedding is off" in house.post({"input": "a"}).json()["detail"]


@pytest.mark.parametrize(
    "given", [b"{", b"", b"[]", b'{"input": []}', b'{"input": ["a", 1]}', b'{"input": {}}']
)
def test_bad_input_is_a_problem(house, given):
    reply = house.post(given)

    assert reply.status == 400
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["request_id"] == reply.headers["x-request-id"]


# -- who may ------------------------------------------------------------------------------------------------------


def test_without_the_token_nobody_comes_in(build):
    house = build(auth=AuthPolicy(token="secret"))

    replies = [
        house.call("POST", "/v1/embeddings", b"{", authorization=h) for h in ("Bearer wrong", "Basic x")
    ]

    assert [reply.status for reply in replies] == [401, 401]
    assert replies[0].headers["www-authenticate"] == 'Bearer realm="paceline"'
    assert replies[0].json()["error"]["type"] == "authentication_error"
    assert house.post({"input": "a"}, authorization="Bearer secret").status == 200


def test_limits_count_per_token_and_show_in_headers(build):
    house = build(auth=AuthPolicy(tokens={"a": "A", "b": "B"}), limits=LimitPolicy(rpm=2))

    mine = [house.post({"input": "x"}, authorization="Bearer A") for _ in range(3)]
    other = house.post({"input": "x"}, authorization="Bearer B")

    assert [reply.status for reply in mine] == [200, 200, 429]
    assert [reply.headers["x-ratelimit-remaining-requests"] for reply in mine] == ["1", "0", "0"]
    assert 1 <= int(mine[2].headers["retry-after"]) <= 60
    assert mine[2].json()["error"]["type"] == "rate_limit_error"
    assert (other.status, other.headers["x-ratelimit-limit-requests"]) == (200, "2")


def test_limits_of_one_endpoint_leave_the_others_alone(build):
    house = build(limits=LimitPolicy(endpoints={"/v1/infer": EndpointLimit(rpm=1)}))

    infer = [house.post({"task": "embed", "input": "x"}, "/v1/infer").status for _ in range(2)]
    embed = house.post({"input": "x"})

    assert (infer, embed.status) == ([200, 429], 200)
    assert "x-ratelimit-limit-requests" not in embed.headers


# -- how long -----------------------------------------------------------------------------------------------------


def test_the_deadline_travels_to_the_service(house):
    house.post({"input": "a"})
    default = house.embedder.deadline_at
    house.post({"input": "b"}, x_request_timeout_ms="1500.5")

    assert 25 < default - house.embedder.deadline_at < 28.6  # 30 s of the policy and 1.5 s of the header


@pytest.mark.parametrize("timeout", ["0", "-1", "-0.5"])
def test_an_expired_deadline_is_refused_even_where_memory_has_the_answer(house, timeout):
    house.post({"input": "a"})

    reply = house.post({"input": "a"}, x_request_timeout_ms=timeout)

    assert (reply.status, reply.json()["code"]) == (504, "deadline_exceeded")


@pytest.mark.parametrize("timeout", ["", "soon", "nan", "inf", "1e999", "1_0s", "86400001"])
def test_a_deadline_that_is_no_number_or_beyond_a_day_is_refused(house, timeout):
    reply = house.post({"input": "a"}, x_request_timeout_ms=timeout)

    assert (reply.status, reply.json()["param"]) == (400, "x-request-timeout-ms")


# -- what goes wrong behind ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Overloaded("full", retry_after_s=2.2), 503, "3"),
        (CircuitOpen("open", retry_after_s=0.01), 503, "1"),
        (DeadlineExceeded("late"), 504, None),
        (EngineError("broken"), 500, None),
    ],
)
def test_errors_of_the_service_are_problems(house, error, status, retry_after):
    house.embedder.error = error

    reply = house.post({"input": "a"})

    assert (reply.status, reply.json()["detail"]) == (status, error.message)
    assert reply.headers.get("retry-after") == retry_after


def test_the_unforeseen_is_logged_under_the_request_id_and_the_server_goes_on(house, caplog):
    house.embedder.error = ZeroDivisionError("secret detail")
    with caplog.at_level(logging.ERROR):
        reply = house.post({"input": "a"}, x_request_id="req-7")
    house.embedder.error = None

    assert (reply.status, reply.json()["code"]) == (500, "internal_error")
    assert "secret detail" not in reply.body.decode()
    assert "req-7" in caplog.text
    assert "ZeroDivisionError: secret detail" in caplog.text
    assert house.post({"input": "a"}).status == 200


def test_a_caller_that_leaves_takes_its_work_along(house):
    async def scenario():
        house.embedder.hold = asyncio.Event()
        house.embedder.entered = asyncio.Event()
        leave = asyncio.Event()
        call = asyncio.ensure_future(house.ask("POST", "/v1/embeddings", b'{"input":"a"}', leave=leave))
        await house.embedder.entered.wait()
        leave.set()
        return await call

    assert asyncio.run(scenario()) is None
    assert house.embedder.cancelled == 1
    assert (
        'paceline_requests_total{route="/v1/embeddings",status="499"} 1'
        in house.call("GET", "/metrics").body.decode()
    )


# -- what it looks like -------------------------------------------------------------------------------------------


def test_request_ids_are_kept_if_sane_and_made_if_not(house):
    ids = [
        house.post({"input": "a"}, **given).headers["x-request-id"]
        for given in (
            {"x_request_id": "mine-1"},
            {"x_request_id": "has space"},
            {"x_request_id": "x" * 129},
            {},
            {},
        )
    ]

    assert ids[0] == "mine-1"
    assert len(set(ids)) == 5


def test_large_floats_are_compressed_for_those_who_accept_it(build):
    house = build(compression=CompressionPolicy(min_bytes=100))
    plain = house.post({"input": ["a", "b"]})
    packed = house.post({"input": ["a", "b"]}, accept_encoding="gzip;q=0.5, zstd")

    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == packed.headers["vary"] == "accept, accept-encoding"
    assert packed.headers["content-encoding"] == "zstd"
    assert zstandard.ZstdDecompressor().decompress(packed.body) == plain.body
    assert int(packed.headers["content-length"]) == len(packed.body)


@pytest.mark.parametrize(
    ("compression", "encoding"),
    [
        (CompressionPolicy(min_bytes=1 << 20), "float"),
        (CompressionPolicy(min_bytes=0, enabled=False), "float"),
        (CompressionPolicy(min_bytes=0), "base64"),
    ],
)
def test_small_replies_and_base64_go_as_they_are(build, compression, encoding):
    reply = build(compression=compression).post(
        {"input": "a", "encoding_format": encoding}, accept_encoding="gzip"
    )

    assert "content-encoding" not in reply.headers


def test_a_body_over_the_limit_is_refused_without_being_collected(build):
    house = build(policy=ServePolicy(max_body_bytes=2048))
    sent = 0

    def pieces():
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 1024

    reply = house.call("POST", "/v1/embeddings", pieces())

    assert (reply.status, reply.json()["code"]) == (413, "payload_too_large")
    assert sent <= 4


def test_dimensions_are_those_of_the_card(house):
    assert len(house.post({"input": "a"}).json()["data"][0]["embedding"]) == DIMENSIONS
