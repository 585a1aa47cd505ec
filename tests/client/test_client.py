"""Both clients against a real server: the same requests, replies, errors and retries."""

import asyncio
import gc
import json
import socket

import numpy as np
import pytest

from paceline.base.errors import (
    CircuitOpen,
    ConfigError,
    DeadlineExceeded,
    EngineError,
    InvalidRequest,
    NotFound,
    Overloaded,
    PacelineError,
    PayloadTooLarge,
    RateLimited,
    Unauthorised,
    Unreachable,
)
from paceline.client import AsyncClient, Client, Retries
from scripted_server import Answer, embeddings, problem

AT_ONCE = Retries(first_wait_s=0.0)


def blocking(url, call, **options):
    with Client(url, **{"retry": AT_ONCE, **options}) as client:
        return call(client)


def asynchronous(url, call, **options):
    async def run():
        async with AsyncClient(url, **{"retry": AT_ONCE, **options}) as client:
            return await call(client)

    return asyncio.run(run())


@pytest.fixture(params=[blocking, asynchronous])
def using(request):
    """Run one call with a client of either kind."""
    return request.param


def test_vectors_come_in_the_order_of_the_texts(server, using):
    server.says(
        embeddings(
            [[1, 2, 3], [4, 5, 6]],
            server_timing='cache;desc="l2", tok;dur=0.500, queue;dur=2.000, wait;dur=1.000, run;dur=8.000, total;dur=11.000',
            x_request_id="r7",
        )
    )

    reply = using(server.url, lambda client: client.embed(["a", "b"]))

    assert reply.vectors.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert (reply.vectors.dtype, reply.vectors.shape, reply.vectors.flags.writeable) == (
        np.float32,
        (2, 3),
        False,
    )
    assert (reply.model, reply.usage.total_tokens, reply.truncated, reply.request_id) == ("m", 5, [1], "r7")
    timings = reply.timings
    assert (timings.cache, timings.tokenize_s, timings.queue_s, timings.batch_wait_s) == (
        "l2",
        0.0005,
        0.002,
        0.001,
    )
    assert (timings.run_s, timings.total_s) == (0.008, 0.011)


def test_what_is_asked_is_sent(server, using):
    server.says(embeddings([[1.0]]))

    using(
        server.url,
        lambda client: client.embed("a", model="m", dimensions=1, truncate=False, priority="high"),
        token="secret",
        timeout_s=20.0,
    )

    (request,) = server.seen
    assert json.loads(request["body"]) == {
        "input": "a",
        "model": "m",
        "encoding_format": "base64",
        "dimensions": 1,
        "user": None,
        "truncate": False,
        "priority": "high",
    }
    headers = request["headers"]
    assert (request["method"], request["path"]) == ("POST", "/v1/embeddings")
    assert (headers["authorization"], headers["accept-encoding"]) == ("Bearer secret", "identity")
    assert 0 < int(headers["x-request-timeout-ms"]) <= 20_000


@pytest.mark.parametrize(
    ("tokens", "sent", "rows"),
    [
        ([1, 2], [1, 2], 1),
        ([[1, 2], [3]], [[1, 2], [3]], 2),
        (np.array([[1, 2]], dtype=np.int32), [[1, 2]], 1),
        ([np.array([1, 2])], [[1, 2]], 1),
    ],
)
def test_tokens_are_sent_as_numbers(server, using, tokens, sent, rows):
    server.says(embeddings([[1.0]] * rows))

    reply = using(server.url, lambda client: client.embed(tokens=tokens))

    assert (json.loads(server.seen[0]["body"])["input"], len(reply.vectors)) == (sent, rows)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give either texts or tokens"),
        ({"texts": "a", "tokens": [1]}, "give either texts or tokens"),
        ({"texts": []}, "no input; give at least one text"),
        ({"tokens": []}, "no input; give at least one text"),
    ],
)
def test_no_input_or_two_is_refused_before_anything_is_sent(server, using, given, message):
    with pytest.raises(InvalidRequest) as caught:
        using(server.url, lambda client: client.embed(**given))

    assert (caught.value.message, server.seen) == (message, [])


def test_a_server_that_answers_with_lists_of_floats_will_do(server, using):
    body = {
        "data": [{"index": 0, "embedding": [0.5, 1]}],
        "model": "m",
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }
    server.says(Answer(body=body))

    assert using(server.url, lambda client: client.embed("a")).vectors.tolist() == [[0.5, 1.0]]


def test_models_health_and_metrics(server, using):
    server.says(
        Answer(body={"object": "list", "data": [{"id": "m", "created": 1, "dimensions": 384}]}),
        Answer(body={"status": "ok"}),
        Answer(status=503, body={"status": "failing"}),
        Answer(body=b"paceline_up 1\n", headers={"content-type": "text/plain"}),
    )

    (card,) = using(server.url, lambda client: client.models())
    well = using(server.url, lambda client: client.health())
    ill = using(server.url, lambda client: client.health())
    metrics = using(server.url, lambda client: client.metrics())

    assert (card.id, card.dimensions, well, ill) == ("m", 384, {"status": "ok"}, {"status": "failing"})
    assert metrics == "paceline_up 1\n"
    assert [request["path"] for request in server.seen] == ["/v1/models", "/health", "/health", "/metrics"]


def test_over_a_unix_socket(server, using):
    server.says(embeddings([[1.0]]))

    assert using(f"unix://{server.uds}", lambda client: client.embed("a")).vectors.tolist() == [[1.0]]


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host", "http://", "", "unix://"])
def test_an_address_that_is_none_is_refused(using, url):
    with pytest.raises(ConfigError) as caught:
        using(url, lambda client: client.models())

    assert caught.value.message == (
        f"base_url = {url!r}: expected http://host:port, https://host:port or unix:///path/of/socket"
    )


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_request", InvalidRequest),
        (413, "payload_too_large", PayloadTooLarge),
        (401, "unauthorised", Unauthorised),
        (404, "not_found", NotFound),
        (405, "a_code_of_a_later_version", InvalidRequest),
        (500, "internal_error", PacelineError),
    ],
)
def test_an_error_that_will_stay_is_raised_at_once(server, using, status, code, kind):
    server.says(problem(status, code, "why", param="input[3]" if status == 400 else None))

    with pytest.raises(PacelineError) as caught:
        using(server.url, lambda client: client.embed("a"))

    error = caught.value
    assert (type(error), error.message, error.__notes__) == (kind, "why", ["request id r1"])
    assert error.param == ("input[3]" if status == 400 else None)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "rate_limited", RateLimited),
        (503, "overloaded", Overloaded),
        (503, "circuit_open", CircuitOpen),
        (500, "engine_error", EngineError),
    ],
)
def test_an_error_that_may_pass_is_tried_again(server, using, status, code, kind):
    failing = problem(status, code, "later", retry_after_s=0.0)
    server.says(failing, failing, embeddings([[1.0]]))

    assert len(using(server.url, lambda client: client.embed("a")).vectors) == 1

    server.says(failing, failing, failing)
    with pytest.raises(PacelineError) as caught:
        using(server.url, lambda client: client.embed("a"))

    assert (type(caught.value), len(server.seen)) == (kind, 3)


def test_a_wait_longer_than_the_call_may_take_is_not_begun(server, using):
    server.says(problem(429, "rate_limited", "too many", retry_after_s=3600.0))

    with pytest.raises(RateLimited) as caught:
        using(server.url, lambda client: client.embed("a"))

    assert (caught.value.retry_after_s, len(server.seen)) == (3600.0, 1)


def test_retry_after_of_a_proxy_counts_too(server, using):
    server.says(Answer(status=429, body=b"slow down", headers={"retry-after": "3600"}))

    with pytest.raises(RateLimited) as caught:
        using(server.url, lambda client: client.embed("a"))

    assert caught.value.retry_after_s == 3600.0


@pytest.mark.parametrize(
    ("status", "kind"),
    [(502, Unreachable), (403, Unauthorised), (413, PayloadTooLarge), (500, PacelineError)],
)
def test_an_error_page_of_somebody_between_us_is_understood_by_its_status(server, using, status, kind):
    server.says(Answer(status, b"<html>", {"content-type": "text/html"}))

    with pytest.raises(PacelineError) as caught:
        using(server.url, lambda client: client.embed("a"), retry=Retries(attempts=1))

    assert type(caught.value) is kind
    assert f"{server.url}/v1/embeddings answered {status} " in caught.value.message


def test_a_server_of_another_kind_is_named(server, using):
    server.says(Answer(body=b"<html>"), embeddings([[1.0]]))

    with pytest.raises(ConfigError) as caught:
        using(server.url, lambda client: client.embed("a"))
    with pytest.raises(ConfigError) as miscounted:
        using(server.url, lambda client: client.embed(["a", "b"]))

    assert f"{server.url}/v1/embeddings does not answer as a Paceline server does" in caught.value.message
    assert "(1 vectors for 2 inputs)" in miscounted.value.message


def test_nobody_there_says_so(using):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        with pytest.raises(Unreachable) as caught:
            using(url, lambda client: client.embed("a"))

    assert caught.value.message.startswith(f"cannot reach {url}: ")
    assert caught.value.message.endswith("; is `paceline serve` running there?")


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # httpcore leaves it to the collector
def test_no_unix_socket_there_says_so(tmp_path, using):
    with pytest.raises(Unreachable, match=f"cannot reach unix://{tmp_path}/none: "):
        using(f"unix://{tmp_path}/none", lambda client: client.models())
    gc.collect()


def test_an_answer_that_does_not_come_is_a_deadline(server, using):
    server.says(Answer(hang=True))

    with pytest.raises(DeadlineExceeded) as caught:
        using(server.url, lambda client: client.embed("a", timeout_s=0.05))

    assert caught.value.message == (
        f"no answer from {server.url} within 0.05 s; give a longer timeout_s, or less work"
    )


def test_cancelling_an_asynchronous_call_lets_the_server_know(server):
    server.says(Answer(hang=True))

    async def run():
        async with AsyncClient(server.url) as client:
            call = asyncio.ensure_future(client.embed("a"))
            await asyncio.to_thread(server.came.wait, 30)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.to_thread(server.left.wait, 30)

    asyncio.run(run())

    assert server.left.is_set()
