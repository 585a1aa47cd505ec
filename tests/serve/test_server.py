"""Everything behind a real uvicorn on a socket: the `openai` client, bad input, hang-ups, drain."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import numpy as np
import openai
import pytest
from embedder import vector_of

from paceline.base.errors import Overloaded
from paceline.flow.limiter import LimitPolicy
from paceline.serve.policy import AuthPolicy


@contextmanager
def client(url, **options):
    with openai.OpenAI(base_url=f"{url}/v1", max_retries=0, **{"api_key": "secret", **options}) as made:
        yield made


def embed(url, model="tiny", api_key="secret", **given):
    with client(url, api_key=api_key) as made:
        return made.embeddings.create(model=model, **given)


def raw(url, *pieces, read=1 << 20):
    """Send bytes on a fresh connection; everything that comes back until the server closes it."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as link:
        for piece in pieces:
            link.sendall(piece)
        return b"".join(iter(lambda: link.recv(65536), b""))


def request(body, *headers, close=True):
    head = [b"POST /v1/embeddings HTTP/1.1", b"host: x", b"content-length: %d" % len(body), *headers]
    if close:
        head.append(b"connection: close")
    return b"\r\n".join(head) + b"\r\n\r\n" + body


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_the_openai_client_works_unchanged(house, serve, encoding):
    with serve(house.app) as url:
        reply = embed(url, input=["a", "b"], encoding_format=encoding)
        vectors = embed(url, input="a").data[0].embedding
        with client(url) as made:
            models = [model.id for model in made.models.list()]

    assert (reply.model, reply.usage.total_tokens, models) == ("tiny", 6, ["tiny"])
    assert len(reply.data) == 2
    np.testing.assert_array_equal(np.float32(vectors), np.frombuffer(vector_of("a"), dtype="<f4"))


def test_the_openai_client_raises_its_usual_exceptions(build, serve):
    house = build(auth=AuthPolicy(token="secret"), limits=LimitPolicy(rpm=3))
    with serve(house.app) as url:
        with pytest.raises(openai.AuthenticationError, match="token is not known"):
            embed(url, api_key="wrong", input="a")
        with pytest.raises(openai.NotFoundError, match="there is 'tiny'") as not_found:
            embed(url, "other", input="a")
        with pytest.raises(openai.BadRequestError, match="empty list"):
            embed(url, input=[])
        house.embedder.error = ZeroDivisionError()
        with pytest.raises(openai.InternalServerError):
            embed(url, input="a")
        with pytest.raises(openai.RateLimitError, match="used up") as limited:
            embed(url, input="a")

    assert (not_found.value.code, not_found.value.param) == ("not_found", "model")
    assert limited.value.response.headers["retry-after"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b'{"input": 3}', {}, 400),
        (b'{"input": []}', {}, 400),
        (b'{"input": "a", "model": "other"}', {}, 404),
        (b'{"input": "a"}', {"authorization": "Bearer wrong"}, 401),
        (b'{"input": "a"}', {"x-request-timeout-ms": "0"}, 504),
        (b'{"input": "a"}', {"x-request-timeout-ms": "x"}, 400),
        (b'{"input": "' + b"a" * (10 << 20) + b'"}', {}, 413),
        (b"--x", {"content-type": "multipart/form-data; boundary=x"}, 415),
    ],
)
def test_bad_input_gets_its_problem_and_the_next_call_its_answer(build, serve, body, headers, status):
    with serve(build(auth=AuthPolicy(token="secret")).app) as url, httpx.Client(base_url=url) as caller:
        caller.headers["authorization"] = "Bearer secret"
        bad = caller.post("/v1/embeddings", content=body, headers=headers)
        good = caller.post("/v1/embeddings", json={"input": "a"})

    assert (bad.status_code, bad.headers["content-type"], bad.json()["status"]) == (
        status,
        "application/problem+json",
        status,
    )
    assert good.status_code == 200


def test_a_chunked_body_is_refused_at_the_limit_and_the_connection_goes_on(house, serve):
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    head = b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    with serve(house.app) as url:
        replies = raw(url, head, *[chunk] * 140, b"0\r\n\r\n", request(b'{"input":"a"}'))

    assert re.findall(rb"HTTP/1.1 (\d+)", replies) == [b"413", b"200"]


def test_ten_thousand_texts_are_answered_whole(house, serve):
    texts = [f"text {number}" for number in range(10_000)]
    with serve(house.app) as url:
        reply = httpx.post(
            f"{url}/v1/embeddings", json={"input": texts, "encoding_format": "base64"}, timeout=60
        ).json()

    assert [row["index"] for row in reply["data"]] == list(range(10_000))


def test_a_reply_leaves_in_one_piece_with_one_date(house, serve):
    with serve(house.app) as url:
        head, _, body = raw(
            url, request(b'{"input":"a"}', close=False) + request(b'{"input":"a"}')
        ).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
    names = [line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:]]
    assert sorted(names) == sorted(set(names))
    assert body.startswith(b'{"object":"list"')


@pytest.mark.parametrize("count", [2, 7])
def test_pipelined_requests_are_answered_in_order(house, serve, count):
    bodies = [b'{"input":"%d","encoding_format":"base64"}' % number for number in range(count)]
    with serve(house.app) as url:
        whole = b"".join(request(body, close=body is bodies[-1]) for body in bodies)
        received = raw(url, whole)

    heads = received.split(b"HTTP/1.1 200 OK")[1:]
    vectors = [json.loads(head.partition(b"\r\n\r\n")[2])["data"][0]["embedding"] for head in heads]
    direct = [house.post(body).json()["data"][0]["embedding"] for body in bodies]
    assert vectors == direct


def test_a_certain_refusal_is_said_without_asking_for_the_work(house, serve):
    with serve(house.app) as url:
        house.embedder.refusal = Overloaded(
            "the queue is full; retry after the time given", retry_after_s=2.4
        )
        reply = httpx.post(f"{url}/v1/embeddings", json={"input": "not in memory"})
        house.embedder.refusal = None
        again = httpx.post(f"{url}/v1/embeddings", json={"input": "not in memory"})

    assert (503, "3", "overloaded") == (reply.status_code, reply.headers["retry-after"], reply.json()["code"])
    assert (200, 1) == (again.status_code, house.embedder.calls)


def test_one_connection_serves_many_calls(house, serve):
    with serve(house.app) as url:
        link = http.client.HTTPConnection(urlsplit(url).netloc)
        statuses = []
        for method, path in [
            ("GET", "/health"),
            ("HEAD", "/health"),
            ("HEAD", "/nowhere"),
            ("HEAD", "/v1/embeddings"),
            ("POST", "/v1/embeddings"),
            ("GET", "/nowhere"),
        ]:
            link.request(method, path, body=b'{"input":"a"}' if method == "POST" else None)
            reply = link.getresponse()
            statuses.append((reply.status, bool(reply.read())))
        link.close()

    assert statuses == [(200, True), (200, False), (404, False), (405, False), (200, True), (404, True)]


def test_three_hundred_hang_ups_leave_nothing_behind(house, serve):
    with serve(house.app) as url:
        address = urlsplit(url)
        house.embedder.hold = asyncio.Event()
        links = [socket.create_connection((address.hostname, address.port)) for _ in range(300)]
        for number, link in enumerate(links):
            link.sendall(request(b'{"input":"%d"}' % number, close=False))
        arrived = threading.Event()
        watch = threading.Thread(target=lambda: (_until(lambda: house.embedder.calls == 300), arrived.set()))
        watch.start()
        assert arrived.wait(30)
        for link in links:
            link.close()
        _until(lambda: house.embedder.cancelled == 300)
        house.embedder.hold = None
        reply = httpx.post(f"{url}/v1/embeddings", json={"input": "honest"})
        page = httpx.get(f"{url}/metrics").text

    assert reply.status_code == 200
    assert 'paceline_requests_total{route="/v1/embeddings",status="499"} 300' in page


def _until(condition):
    """Wait for another thread; the test's own time limit ends it if need be."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.002)


def test_while_draining_open_calls_end_and_connections_close(house, serve):
    with serve(house.app) as url, httpx.Client(base_url=url) as caller:
        assert caller.post("/v1/embeddings", json={"input": "a"}).headers.get("connection") is None
        house.app.drain()
        reply = caller.post("/v1/embeddings", json={"input": "a"})

    assert (reply.status_code, reply.headers["connection"]) == (200, "close")
