"""Routing, life span and drain of the application."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from paceline.base.errors import ConfigError
from paceline.serve.policy import AuthPolicy


async def live(app):
    """Drive the ASGI lifespan protocol; what the application sent, and `stop` to go on to the shutdown."""
    sent, stop = [], asyncio.Event()
    messages = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive():
        kind = next(messages)
        if kind == "lifespan.shutdown":
            await stop.wait()
        return {"type": kind}

    async def send(message):
        sent.append(message["type"])

    task = asyncio.ensure_future(app({"type": "lifespan"}, receive, send))
    for _ in range(3):
        await asyncio.sleep(0)
    return sent, stop, task


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/embeddings", "OPTIONS, POST"),
        ("HEAD", "/v1/infer", "OPTIONS, POST"),
        ("POST", "/v1/models", "GET, HEAD, OPTIONS"),
        ("DELETE", "/v1/models/tiny", "GET, HEAD, OPTIONS"),
        ("PUT", "/metrics", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method_names_the_right_ones(house, method, path, allow):
    reply = house.call(method, path)

    assert (reply.status, reply.headers["allow"], reply.json()["code"]) == (405, allow, "method_not_allowed")


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/models", "/docs"])
def test_options_tells_the_methods_without_a_token(build, path):
    reply = build(auth=AuthPolicy(token="secret")).call("OPTIONS", path)

    assert (reply.status, "OPTIONS" in reply.headers["allow"]) == (200, True)


@pytest.mark.parametrize("path", ["/nowhere", "/v1/embeddings/", "/v1", ""])
def test_a_wrong_path_is_a_problem(house, path):
    reply = house.call("GET", path)

    assert (reply.status, reply.json()["code"]) == (404, "not_found")
    assert reply.headers["content-type"] == "application/problem+json"


def test_paths_that_do_not_exist_make_no_new_metrics(house):
    for number in range(50):
        house.call("GET", f"/guess/{number}")

    assert (
        'paceline_requests_total{route="other",status="404"} 50'
        in house.call("GET", "/metrics").body.decode()
    )


def test_models_are_listed_and_shown(house):
    listed, shown = house.call("GET", "/v1/models").json(), house.call("GET", "/v1/models/tiny").json()

    assert (listed["object"], [card["id"] for card in listed["data"]]) == ("list", ["tiny"])
    assert (shown["object"], shown["dimensions"]) == ("model", 8)


def test_a_model_that_is_not_there(house):
    reply = house.call("GET", "/v1/models/org/other")

    assert (reply.status, reply.json()["detail"]) == (
        404,
        "model 'org/other' is not served here; there is 'tiny'",
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models", 401),
        ("/v1/models/tiny", 401),
        ("/health", 200),
        ("/metrics", 200),
        ("/docs", 200),
        ("/", 200),
    ],
)
def test_the_token_guards_what_is_under_v1(build, path, status):
    assert build(auth=AuthPolicy(token="secret")).call("GET", path).status == status


def test_the_landing_page_leads_on(house):
    assert house.call("GET", "/").json()["docs"] == "/docs"


def test_every_reply_has_a_request_id(house):
    for path in ("/", "/health", "/nowhere", "/v1/models"):
        assert house.call("GET", path, x_request_id="r-1").headers["x-request-id"] == "r-1"


def test_two_tokens_alike_are_refused_at_the_start(build):
    with pytest.raises(ConfigError):
        build(auth=AuthPolicy(token="a", tokens={"b": "a"}))


def test_ready_while_alive_only(build, run_virtual):
    async def scenario():
        seen = []

        async def ready():
            return (await house.ask("GET", "/health/ready")).status

        @asynccontextmanager
        async def parts():
            seen.append(("starting", await ready()))
            yield
            seen.append(("stopping", await ready()))

        house = build(lifespan=parts)
        sent, stop, task = await live(house.app)
        seen.append(("running", await ready()))
        stop.set()
        await task
        return seen, sent

    assert run_virtual(scenario()) == (
        [("starting", 503), ("running", 200), ("stopping", 503)],
        ["lifespan.startup.complete", "lifespan.shutdown.complete"],
    )


@pytest.mark.parametrize("error", [ConfigError("embed.model = '/x' is no folder"), OSError("disk")])
def test_a_start_that_fails_says_why(build, run_virtual, error, caplog):
    @asynccontextmanager
    async def parts():
        raise error
        yield

    async def scenario():
        sent, _, task = await live(build(lifespan=parts).app)
        await task
        return sent

    assert run_virtual(scenario()) == ["lifespan.startup.failed"]
    assert str(error) in caplog.text


def test_draining_closes_connections_but_answers(house):
    house.app.drain()

    reply, ready = house.post({"input": "a"}), house.call("GET", "/health/ready")

    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert (ready.status, ready.json(), ready.headers["connection"]) == (503, {"status": "draining"}, "close")


def test_the_last_minute_moves_while_alive(build, run_virtual):
    async def scenario():
        house = build()
        marks = []
        house.app.metrics.registry.mark = lambda: marks.append(asyncio.get_running_loop().time())
        async with house.app.life():
            await asyncio.sleep(16)
        await asyncio.sleep(60)
        return marks

    assert run_virtual(scenario()) == [5.0, 10.0, 15.0]


def test_web_sockets_are_turned_away(house, run_virtual):
    async def scenario():
        sent = []

        async def send(message):
            sent.append(message["type"])

        await house.app({"type": "websocket", "path": "/"}, None, send)
        return sent

    assert run_virtual(scenario()) == ["websocket.close"]
