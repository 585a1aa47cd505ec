"""What vLLM tells, in our form. Its classes are described, not imported: they come with a package that may be absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from paceline.base.generation import FinishReason, GenerateEvent, TokenLogprob

_FINISH: Final[Mapping[str, FinishReason]] = {"stop": "stop", "length": "length", "repetition": "stop"}


class Logprob(Protocol):
    """`vllm.logprobs.Logprob`."""

    logprob: float
    rank: int | None
    """1 is the likeliest."""
    decoded_token: str | None


Place = Mapping[int, Logprob]
"""The tokens told of one place: the chosen one and the likeliest."""


class Completion(Protocol):
    """`vllm.outputs.CompletionOutput`, with what is new since the last."""

    index: int
    text: str
    token_ids: Sequence[int]
    logprobs: Sequence[Place] | None
    finish_reason: str | None


def event_of(output: Completion, shown: int | None) -> GenerateEvent | None:
    """What a step brought for one choice, None for nothing; `shown` alternatives go with each log-probability."""
    finish = None if output.finish_reason is None else _FINISH.get(output.finish_reason, "error")
    tokens = tuple(output.token_ids)
    if not output.text and not tokens and finish is None:
        return None
    places = output.logprobs or ()
    logprobs = tuple(
        logprob_of(token, place, shown or 0) for token, place in zip(tokens, places, strict=False)
    )
    return GenerateEvent(output.index, output.text, tokens, logprobs, finish)


def logprob_of(token: int, place: Place | None, shown: int) -> TokenLogprob:
    """One token's; `place` is None for the first of a prompt."""
    if place is None:
        return TokenLogprob(token, "", None)
    ranked = sorted(place.items(), key=lambda item: -item[1].logprob)[:shown]
    top = tuple((other, one.decoded_token or "", one.logprob) for other, one in ranked)
    chosen = place[token]
    return TokenLogprob(token, chosen.decoded_token or "", chosen.logprob, top)
