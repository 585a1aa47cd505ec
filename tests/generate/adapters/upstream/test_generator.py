"""Generation by an upstream: a real server on a real socket, telling what a script says."""

import asyncio
import json

import httpx
import pytest
from upstream_words import CHAT, DONE, SAY, WHOLE, answer, delta, opened, piece, soon, speaking

from paceline.base.errors import ConfigError, NotFound
from paceline.base.generation import GenerateEvent, GenerateRequest, TokenLogprob, Usage
from paceline.flow.breaker import Breaker, BreakerPolicy
from paceline.generate.adapters.upstream.generator import Upstream
from paceline.generate.adapters.upstream.policy import UpstreamPolicy
from scripted_server import Answer

pytestmark = pytest.mark.anyio


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
