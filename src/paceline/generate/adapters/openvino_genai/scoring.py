"""Exact scores: the library echoes a prompt with the log-probability of each token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from paceline.base.errors import InvalidRequest
from paceline.base.generation import GenerateEvent, Scored, ScoreRequest
from paceline.generate.adapters.openvino_genai.prompts import Prompts


class Pass(msgspec.Struct, frozen=True):
    """One sequence for the library."""

    prompt: list[int]
    settings: dict[str, Any]
    """Keyword arguments of a `GenerationConfig`."""
    scored: bool


async def tokens_of(request: ScoreRequest, prompts: Prompts) -> tuple[list[int], list[list[int]]]:
    """Ids of the context, and of each continuation. Raises InvalidRequest, PayloadTooLarge."""
    if not request.continuations:
        raise InvalidRequest("continuations is empty; send at least one", param="continuations")
    context = await prompts.tokens(request.context, "context")
    if not context:
        raise InvalidRequest("context has no tokens; send at least one", param="context")
    tails = []
    for number in range(len(request.continuations)):
        param = f"continuations[{number}]"
        tail = await prompts.tokens(request.continuations[number], param, special=False)
        if not tail:
            raise InvalidRequest(f"{param} has no tokens; send at least one", param=param)
        prompts.context.fitted(context + tail, max_tokens=None, truncate=False)
        tails.append(tail)
    return context, tails


def passes(context: list[int], tails: list[list[int]]) -> Iterator[Pass]:
    """First a greedy continuation of the context, which tells of each tail whether it is the likeliest; then the tails."""
    longest = max(map(len, tails))
    yield Pass(context, {"max_new_tokens": longest, "ignore_eos": True, "do_sample": False}, scored=False)
    for tail in tails:
        yield Pass(context + tail, {"max_new_tokens": 0, "echo": True, "logprobs": 1}, scored=True)


def scored(tail: list[int], told: list[GenerateEvent], likeliest: list[GenerateEvent]) -> Scored:
    """The score of one tail, from what its pass and the greedy one told."""
    logprobs = [one.logprob for event in told for one in event.logprobs][-len(tail) :]
    known = tuple(logprob for logprob in logprobs if logprob is not None)
    first = [token for event in likeliest for token in event.tokens]
    return Scored(
        logprob=sum(known), tokens=tuple(tail), token_logprobs=known, greedy=first[: len(tail)] == tail
    )
