"""What a scripted upstream says, and generators that ask it."""

import json
import time

from paceline.base.generation import Chat, GenerateRequest
from paceline.flow.breaker import Breaker, BreakerPolicy
from paceline.flow.retry import RetryPolicy
from paceline.generate.adapters.upstream.generator import Upstream
from paceline.generate.adapters.upstream.policy import UpstreamPolicy
from scripted_server import Answer

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
