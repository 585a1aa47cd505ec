"""Scores from an upstream's echo."""

import json
import time

import pytest

from paceline.base.errors import InvalidRequest
from paceline.base.generation import Scored, ScoreRequest
from paceline.flow.breaker import Breaker, BreakerPolicy
from paceline.generate.adapters.upstream.generator import Upstream
from paceline.generate.adapters.upstream.policy import UpstreamPolicy
from scripted_server import Answer

pytestmark = pytest.mark.anyio

# A model whose tokens are letters: the context `ab` has two, and one more is generated after each prompt.
CONTEXT = Answer(body={"choices": [{"text": "?"}], "usage": {"prompt_tokens": 2}})


def echoed(text, chosen, best):
    """The reply to a prompt `text`, with a generated `?` behind it."""
    logprobs = {
        "tokens": [*text, "?"],
        "token_logprobs": [*chosen, -9.0],
        "top_logprobs": [None if value is None else {"z": value} for value in (*best, -9.0)],
    }
    return Answer(
        body={"choices": [{"text": f"{text}?", "logprobs": logprobs}], "usage": {"prompt_tokens": len(text)}}
    )


async def scores(server, context, *continuations):
    upstream = Upstream(UpstreamPolicy(url=server.url, model="m"), Breaker(BreakerPolicy()))
    try:
        return await upstream.score(ScoreRequest(context, continuations), deadline_at=time.monotonic() + 30)
    finally:
        await upstream.close()


async def test_a_continuation_s_tokens_are_those_behind_the_context_s(server):
    """The token that was generated on top does not count; greedy means that no other was likelier."""
    server.says(CONTEXT, echoed("abcd", [None, -1.0, -0.5, -0.25], [None, -1.0, -0.5, -0.25]))

    (told,) = await scores(server, "ab", "cd")

    assert told == Scored(-0.75, (-1, -1), (-0.5, -0.25), greedy=True)
    first, second = (json.loads(seen["body"]) for seen in server.seen)
    assert first == {"model": "m", "prompt": "ab", "max_tokens": 1, "temperature": 0.0}
    assert second == first | {"prompt": "abcd", "echo": True, "logprobs": 1}


async def test_ids_that_were_given_are_told(server):
    """An upstream answers in texts, but these ids we know."""
    server.says(CONTEXT, echoed("abc", [None, -1.0, -0.5], [None, -1.0, -0.25]))

    (told,) = await scores(server, [5, 6], [7])

    assert told == Scored(-0.5, (7,), (-0.5,), greedy=False)
    assert json.loads(server.seen[1]["body"])["prompt"] == [5, 6, 7]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ({"choices": [{"text": "?"}], "usage": {"prompt_tokens": 3}}, "no logprobs"),
        (
            {
                "choices": [{"logprobs": {"tokens": ["?"], "token_logprobs": [-1.0]}}],
                "usage": {"prompt_tokens": 3},
            },
            "no top_logprobs",
        ),
        (
            {
                "choices": [
                    {"logprobs": {"tokens": ["?"], "token_logprobs": [-1.0], "top_logprobs": [{"?": -1.0}]}}
                ],
                "usage": {"prompt_tokens": 3},
            },
            "1 tokens came back for a prompt of 3",
        ),
    ],
)
async def test_an_upstream_that_cannot_score_is_told_apart(server, reply, why):
    """The message says what would be needed."""
    server.says(CONTEXT, Answer(body=reply))

    with pytest.raises(InvalidRequest, match=rf"the upstream cannot score: .*{why}.*echo and logprobs"):
        await scores(server, "ab", "c")


async def test_an_upstream_that_refuses_echo_is_heard(server):
    """As llama.cpp's server or OpenAI's newer models do."""
    server.says(CONTEXT, Answer(400, {"error": {"message": "echo is not supported", "param": "echo"}}))

    with pytest.raises(InvalidRequest, match="echo is not supported"):
        await scores(server, "ab", "c")


@pytest.mark.parametrize(
    ("context", "continuations", "param"), [("", ("a",), "context"), ("a", (), "continuations")]
)
async def test_there_must_be_something_to_score(server, context, continuations, param):
    """The first token of a text has no probability."""
    with pytest.raises(InvalidRequest, match="is empty") as refusal:
        await scores(server, context, *continuations)

    assert refusal.value.param == param
    assert server.seen == []
