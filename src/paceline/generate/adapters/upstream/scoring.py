"""Exact scores from an upstream's completions: it echoes the prompt with the log-probability of each token.

The context alone is sent first, to learn how many tokens it has; the tokens after these are the continuation's. One
token more than the prompt is asked for, since not every server lets a completion generate none, and is ignored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from paceline.base.errors import InvalidRequest
from paceline.base.generation import Scored, ScoreRequest
from paceline.generate.adapters.upstream.chunk import UNKNOWN_TOKEN, Chunk, chunk_of

Complete = Callable[[bytes], Awaitable[bytes]]
"""Sends the body of a completion and gives the reply's."""


async def score(request: ScoreRequest, model: str, complete: Complete) -> list[Scored]:
    """A score for each continuation. Raises InvalidRequest where the upstream cannot."""
    if not request.continuations:
        raise InvalidRequest("continuations is empty; send at least one", param="continuations")
    if not request.context:
        raise InvalidRequest(
            "context is empty: the first token of a text has no probability; send at least one token",
            param="context",
        )
    context = chunk_of(await complete(_body(model, request.context, scored=False)))
    length = context.usage.prompt_tokens if context.usage else 0
    if not length:
        raise _unable("it does not count the prompt's tokens (usage)")
    tasks = [
        asyncio.ensure_future(_scored(request.context, one, length, model, complete))
        for one in request.continuations
    ]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _scored(
    context: str | list[int],
    continuation: str | list[int],
    context_tokens: int,
    model: str,
    complete: Complete,
) -> Scored:
    # Both are texts, or both lists of ids: the request's decoder saw to that.
    whole: Any = context + continuation  # type: ignore[operator]
    reply = chunk_of(await complete(_body(model, whole, scored=True)))
    told = _told(reply)
    end = reply.usage.prompt_tokens if reply.usage else 0
    if not context_tokens < end <= len(told):
        raise _unable(f"{len(told)} tokens came back for a prompt of {end}")
    pairs = told[context_tokens:end]
    if any(chosen is None for chosen, _ in pairs):
        raise _unable("a token of the prompt came back without one")
    logprobs = tuple(chosen for chosen, _ in pairs if chosen is not None)
    ids = tuple(continuation) if isinstance(continuation, list) else (UNKNOWN_TOKEN,) * len(pairs)
    return Scored(
        logprob=sum(logprobs),
        tokens=ids,
        token_logprobs=logprobs,
        greedy=all(
            chosen >= best for chosen, best in zip(logprobs, (best for _, best in pairs), strict=True)
        ),
    )


def _told(reply: Chunk) -> list[tuple[float | None, float]]:
    """For each token of prompt and output: its log-probability, and the likeliest token's."""
    logprobs = reply.choices[0].logprobs if reply.choices else None
    if logprobs is None or logprobs.token_logprobs is None:
        raise _unable("its completions have no logprobs")
    tops = logprobs.top_logprobs or []
    if len(tops) != len(logprobs.token_logprobs):
        raise _unable("its completions have no top_logprobs")
    return [
        (chosen, max(top.values(), default=float("-inf")) if top else float("-inf"))
        for chosen, top in zip(logprobs.token_logprobs, tops, strict=True)
    ]


def _body(model: str, prompt: str | list[int], *, scored: bool) -> bytes:
    body: dict[str, Any] = {"model": model, "prompt": prompt, "max_tokens": 1, "temperature": 0.0}
    if scored:
        body |= {"echo": True, "logprobs": 1}
    return msgspec.json.encode(body)


def _unable(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"the upstream cannot score: {why}; scores need completions with echo and logprobs, as vLLM has them, or an "
        "engine of ours (generate.engine)"
    )
