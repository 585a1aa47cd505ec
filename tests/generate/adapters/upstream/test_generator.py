"""Generation by an upstream: a real server on a real socket, telling what a script says."""

import asyncio
import json
import socket
import time

import httpx
import pytest

from paceline.base.errors import (
    CircuitOpen,
    ConfigError,
    DeadlineExceeded,
    EngineError,
    InvalidRequest,
    NotFound,
    Overloaded,
)
from paceline.base.generation import Chat, GenerateEvent, GenerateRequest, TokenLogprob, Usage
from paceline.flow.breaker import Breaker, BreakerPolicy
from paceline.flow.retry import RetryPolicy
from paceline.generate.adapters.upstream.generator import Upstream
from paceline.generate.adapters.upstream.policy import UpstreamPolicy
from scripted_server import Answer

pytestmark = pytest.mark.anyio

SAY = GenerateRequest("say")
CHAT = GenerateRequest(Chat([{"role": "user", "content": "say"}]))


def event(**fields):
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def piece(text, finish=None, index=0, **more):
    return event(choices=[{"index": index, "text": text, "finish_reason": finish, **more}])


def delta(finish=None, index=0, logprobs=None, **said):
    return event(choices=[{"index": index, "delta": said, "finish_reason": finish, "logprobs": logprobs}])


COUNTED = event(
    choices=[],
    usage={"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}},
)
DONE = b"data: [DONE]\n\n"
WHOLE = [piece("a"), piece("b", "stop"), COUNTED, DONE]


def speaking(*pieces, **more):
    return Answer(pieces=list(pieces), **more)


def opened(server, *, url=None, attempts=3, failure_threshold=5, **policy):
    return Upstream(
        UpstreamPolicy(
            url=server.url if url is None else url,
            model="m",
            retry=RetryPolicy(attempts=attempts, first_wait_s=0.0),
            **policy,
        ),
        Breaker(BreakerPolicy(failure_threshold=failure_threshold), name="the upstream"),
    )


def soon(seconds=30.0):
    return time.monotonic() + seconds


async def answer(server, request=SAY, *, deadline_s=30.0, **policy):
    """Every event of one request, and the generation."""
    upstream = opened(server, **policy)
    try:
        generation = await upstream.start(request, deadline_at=soon(deadline_s))
        return [event async for events in generation for event in events], generation
    finally:
        await upstream.close()


async def test_a_completion_streams(server):
    """Texts in order, one finish reason, the upstream's counts, and timings that say no cache answered."""
    server.says(speaking(*WHOLE))

    events, generation = await answer(server, key="secret")

    assert events == [GenerateEvent(0, "a"), GenerateEvent(0, "b", finish_reason="stop")]
    assert generation.usage == Usage(prompt_tokens=5, completion_tokens=2, cached_tokens=4)
    assert generation.timings.cache == "bypass"
    assert 0 < generation.timings.total_s < 30
    (seen,) = server.seen
    assert (seen["method"], seen["path"]) == ("POST", "/v1/completions")
    assert seen["headers"]["authorization"] == "Bearer secret"
    assert json.loads(seen["body"])["prompt"] == "say"


async def test_an_event_may_be_cut_anywhere(server):
    """Network reads know nothing of events; characters are cut as well."""
    whole = b"".join([piece("ä"), piece("日本", "length"), DONE])
    server.says(speaking(*(whole[at : at + 5] for at in range(0, len(whole), 5))))

    events, _ = await answer(server)

    assert [event.text for event in events] == ["ä", "日本"]
    assert events[-1].finish_reason == "length"


async def test_a_chat_streams(server):
    """The first event has a role only and says nothing; an address with a path is taken as it is."""
    top = [{"token": "Hi", "logprob": -0.5}, {"token": "Ho", "logprob": -1.5}]
    logprobs = {"content": [{"token": "Hi", "logprob": -0.5, "top_logprobs": top}]}
    server.says(
        speaking(
            delta(role="assistant", content=""), delta(content="Hi", logprobs=logprobs), delta("stop"), DONE
        )
    )

    events, _ = await answer(server, CHAT, url=f"{server.url}/api/v2/")

    told = TokenLogprob(-1, "Hi", -0.5, ((-1, "Hi", -0.5), (-1, "Ho", -1.5)))
    assert events == [GenerateEvent(0, "Hi", logprobs=(told,)), GenerateEvent(0, "", finish_reason="stop")]
    assert server.seen[0]["path"] == "/api/v2/chat/completions"


async def test_logprobs_of_a_completion(server):
    """Four lists side by side; alternatives come likeliest first, and token ids where the upstream tells them."""
    logprobs = {
        "tokens": ["a", "b"],
        "token_logprobs": [None, -1.0],
        "top_logprobs": [None, {"b": -1.0, "c": -0.5}],
        "text_offset": [0, 1],
    }
    server.says(speaking(piece("ab", "stop", logprobs=logprobs, token_ids=[7, 8]), DONE))

    ((told,), _) = await answer(server)

    assert told.tokens == (7, 8)
    assert told.logprobs == (
        TokenLogprob(-1, "a", None),
        TokenLogprob(-1, "b", -1.0, ((-1, "c", -0.5), (-1, "b", -1.0))),
    )


async def test_choices_come_mixed(server):
    """Each piece says whose it is; the answer is complete when every choice is finished."""
    server.says(
        speaking(piece("a", index=1), piece("x"), piece("", "stop", index=1), piece("y", "length"), DONE)
    )

    events, _ = await answer(server, GenerateRequest("say", n=2))

    assert [(event.index, event.text, event.finish_reason) for event in events] == [
        (1, "a", None),
        (0, "x", None),
        (1, "", "stop"),
        (0, "y", "length"),
    ]


async def test_tool_calls_are_told_as_the_model_wrote_them(server):
    """Their pieces are gathered; a call that was cut short keeps its arguments as text."""
    server.says(
        speaking(
            delta(tool_calls=[{"index": 0, "function": {"name": "add", "arguments": '{"a":'}}]),
            delta(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]),
            delta(tool_calls=[{"index": 1, "function": {"name": "sub", "arguments": '{"a'}}]),
            delta("tool_calls"),
            DONE,
        )
    )

    ((told,), _) = await answer(server, CHAT)

    assert told.finish_reason == "tool_calls"
    assert told.text == (
        '<tool_call>\n{"name":"add","arguments":{"a":1}}\n</tool_call>'
        '<tool_call>\n{"name":"sub","arguments":"{\\"a"}\n</tool_call>'
    )


async def test_an_upstream_that_does_not_stream_answers_at_once(server):
    """A whole reply says all in one event."""
    body = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }
    server.says(Answer(body=body))

    events, generation = await answer(server, CHAT)

    assert events == [GenerateEvent(0, "Hi", finish_reason="stop")]
    assert generation.usage == Usage(3, 1)


async def test_an_unknown_finish_reason_is_an_error(server):
    """`abort` and its like are no good ends."""
    server.says(speaking(piece("a", "abort"), DONE))

    ((told,), _) = await answer(server)

    assert told.finish_reason == "error"


async def test_a_passing_failure_is_tried_again_before_the_first_event(server):
    """A status, a connection that breaks, and an event that reports a failure: nothing had been told yet."""
    server.says(
        Answer(503, {"error": {"message": "busy"}}),
        speaking(cut=True),
        speaking(event(error={"message": "dead", "code": 500})),
        speaking(*WHOLE),
    )

    events, _ = await answer(server, attempts=4)

    assert "".join(event.text for event in events) == "ab"
    assert len(server.seen) == 4


async def test_a_refusal_is_final(server):
    """Wrong input is as wrong the next time; its message and param reach the caller."""
    server.says(Answer(400, {"error": {"message": "n is too large", "param": "n"}}))

    with pytest.raises(InvalidRequest, match="n is too large") as refusal:
        await answer(server)

    assert refusal.value.param == "n"
    assert len(server.seen) == 1


async def test_an_overloaded_upstream_is_passed_on_with_its_patience(server):
    """It asks for more than we would wait."""
    server.says(Answer(429, {"error": {"message": "slow down"}}, {"retry-after": "60"}))

    with pytest.raises(Overloaded, match="slow down") as refusal:
        await answer(server)

    assert refusal.value.retry_after_s == 60.0


async def test_a_stream_that_breaks_is_not_tried_again(server):
    """Its first words have been told; the breaker counts the fault all the same."""
    server.says(speaking(piece("a"), cut=True))
    upstream = opened(server)
    events = aiter(await upstream.start(SAY, deadline_at=soon()))
    told = await anext(events)

    with pytest.raises(EngineError, match="cannot reach the upstream"):
        await anext(events)
    await upstream.close()

    assert told == [GenerateEvent(0, "a")]
    assert upstream.breaker.failures_total == 1
    assert upstream.stats()["upstream"]["broken_total"] == 1
    assert len(server.seen) == 1


@pytest.mark.parametrize("end", [[], [DONE], [event(error={"message": "out of memory"})]])
async def test_an_answer_without_its_end_is_a_failure(server, end):
    """Half an answer must not look like a whole one."""
    server.says(speaking(piece("a"), *end))

    with pytest.raises(EngineError, match=r"1 of its choices unfinished|out of memory"):
        await answer(server)


async def test_words_of_another_protocol_are_a_failure(server):
    """The message says which setting to look at."""
    server.says(speaking(b"data: <html>\n\n"))

    with pytest.raises(EngineError, match=r"not OpenAI's.*generate\.upstream\.url"):
        await answer(server, attempts=1)


async def test_leaving_early_closes_the_connection(server):
    """The upstream sees it at once and stops."""
    server.says(speaking(piece("a"), hang=True))
    upstream = opened(server)
    generation = await upstream.start(SAY, deadline_at=soon())
    assert not upstream._idle.is_set()

    await generation.aclose()

    assert await asyncio.to_thread(server.left.wait, 10)
    await upstream.drain()
    assert [events async for events in generation] == []
    await upstream.close()


@pytest.mark.parametrize("first", [[], [piece("a")]])
async def test_cancelling_closes_the_connection(server, first):
    """Before the first event and after it."""
    server.says(speaking(*first, hang=True))
    upstream, told = opened(server), asyncio.Event()

    async def read():
        async for _ in await upstream.start(SAY, deadline_at=soon()):
            told.set()

    task = asyncio.create_task(read())
    assert await asyncio.to_thread(server.came.wait, 10)
    if first:
        await told.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await asyncio.to_thread(server.left.wait, 10)
    assert upstream.stats()["upstream"]["running"] == 0
    assert upstream.breaker.failures_total == 0
    await upstream.close()


@pytest.mark.parametrize("first", [[], [piece("a")]])
async def test_a_passed_deadline_ends_the_request_there_too(server, first):
    """It is the caller's time, no fault of the upstream's."""
    server.says(speaking(*first, hang=True))
    upstream = opened(server)

    with pytest.raises(DeadlineExceeded, match="the deadline"):
        async for _ in await upstream.start(SAY, deadline_at=soon(0.2)):
            pass

    assert await asyncio.to_thread(server.left.wait, 10)
    assert upstream.breaker.failures_total == 0
    await upstream.close()


@pytest.mark.parametrize("first", [[], [piece("a")]])
async def test_a_silent_upstream_is_given_up_and_counted(server, first):
    """It is not asked again: it may be at work on the first."""
    server.says(speaking(*first, hang=True))
    upstream = opened(server, timeout_s=0.1)

    with pytest.raises(DeadlineExceeded, match=r"silent for 0\.1 s"):
        async for _ in await upstream.start(SAY, deadline_at=soon()):
            pass
    await upstream.close()

    assert upstream.breaker.failures_total == 1
    assert len(server.seen) == 1


async def test_a_dead_upstream_opens_the_breaker(server):
    """After that it is left alone, and `/health` says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    upstream = opened(server, url=f"http://127.0.0.1:{port}", attempts=1, failure_threshold=2)
    for _ in range(2):
        with pytest.raises(EngineError, match=rf"cannot reach the upstream http://127\.0\.0\.1:{port}/v1"):
            await upstream.start(SAY, deadline_at=soon())

    with pytest.raises(CircuitOpen, match="the upstream failed 2 times"):
        await upstream.start(SAY, deadline_at=soon())

    assert upstream.health() == {
        "status": "failing",
        "breaker": "open",
        "engine": f"upstream http://127.0.0.1:{port}/v1",
    }
    await upstream.close()


async def test_connections_are_kept(server):
    """A second request goes over the first one's connection."""
    server.says(speaking(*WHOLE), speaking(*WHOLE))
    upstream = opened(server)
    for _ in range(2):
        async for _ in await upstream.start(SAY, deadline_at=soon()):
            pass

    assert len(upstream._http._transport._pool.connections) == 1
    assert upstream.stats()["upstream"] == {
        "requests_total": 2,
        "sent_total": 2,
        "broken_total": 0,
        "running": 0,
        "prompt_tokens_total": 10,
        "completion_tokens_total": 4,
    }
    await upstream.close()


async def test_closing_ends_what_is_under_way(server):
    """The upstream is told as it would be by any caller that leaves."""
    server.says(speaking(piece("a"), hang=True))
    upstream = opened(server)
    await upstream.start(SAY, deadline_at=soon())

    await upstream.close()

    assert await asyncio.to_thread(server.left.wait, 10)


async def test_only_its_own_model_is_served(server):
    """Before anything is sent."""
    with pytest.raises(NotFound, match="model 'x' is not served here; this server has 'm'"):
        await answer(server, GenerateRequest("say", model="x"))

    assert server.seen == []


async def test_the_card_names_the_upstream(server):
    """Whose model it is shows in `/v1/models`."""
    upstream = opened(server)

    card = upstream.card()

    assert (card.id, card.task, card.engine) == ("m", "generate", "upstream")
    assert card.owned_by == httpx.URL(server.url).netloc.decode()
    await upstream.close()


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x", "http://", "http://x/v1?key=1"])
def test_an_address_that_is_none_is_refused(url):
    """With the setting's name and an example."""
    with pytest.raises(ConfigError, match=r"generate\.upstream\.url = .*expected http://host:port"):
        Upstream(UpstreamPolicy(url=url, model="m"), Breaker(BreakerPolicy()))


def test_a_model_has_to_be_named():
    """An upstream serves many; none is the obvious one."""
    with pytest.raises(ConfigError, match=r"generate\.upstream\.model is empty"):
        Upstream(UpstreamPolicy(url="http://x"), Breaker(BreakerPolicy()))
