"""A request in the library's words, and by name what it has no word for."""

from __future__ import annotations

import json
import random
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from paceline.base.errors import InvalidRequest
from paceline.base.generation import GenerateRequest, Guide

SEEDS: Final = 1 << 32

_ANY_OBJECT: Final = '{"type": "object"}'


def settings_of(request: GenerateRequest, *, ends: frozenset[int]) -> list[dict[str, Any]]:
    """Keyword arguments of a `GenerationConfig` for each choice, but for `max_new_tokens`.

    `ends` are the model's own ends of text.

    Each choice is a request of its own to the library, which streams nothing while it makes several of one. Stop strings
    are not passed on: it misses those that begin inside a token. Raises InvalidRequest.
    """
    _refuse(request)
    sampling = request.sampling
    settings: dict[str, Any] = {
        "ignore_eos": request.ignore_eos,
        "stop_token_ids": set(request.stop_token_ids) | (set() if request.ignore_eos else ends),
        "logprobs": 0 if request.logprobs is None else 1,
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "do_sample": sampling.temperature > 0,
    }
    if sampling.guide is not None:
        settings["structured_output_config"] = _guide(sampling.guide)
    if not sampling.temperature > 0:
        return [settings] * request.n
    settings |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "min_p": sampling.min_p}
    if sampling.top_k:
        settings["top_k"] = sampling.top_k
    seed = random.getrandbits(32) if sampling.seed is None else sampling.seed
    return [settings | {"rng_seed": (seed + choice) % SEEDS} for choice in range(request.n)]


def _refuse(request: GenerateRequest) -> None:
    if request.sampling.logit_bias:
        raise _cannot("logit_bias", "leave it out")
    if request.logprobs:
        raise _cannot(
            f"logprobs = {request.logprobs}", "send logprobs = 0 for the chosen token's alone", "logprobs"
        )
    if request.prompt_logprobs is not None or (request.echo and request.logprobs is not None):
        raise _cannot("log-probabilities of the prompt in a generation", "use /v1/score", "prompt_logprobs")


def _guide(guide: Guide) -> dict[str, str]:
    """Keyword arguments of a `StructuredOutputConfig`.

    Only guides that are valid by construction: the library compiles one when its sequence first runs, and one that it
    cannot compile stops the pipeline for everybody.
    """
    if guide.kind == "json":
        return {"json_schema": _ANY_OBJECT}
    if guide.kind == "choice":
        # A JSON string is a literal of the grammar as well.
        literals = (json.dumps(choice, ensure_ascii=False) for choice in _choices(guide.source))
        return {"grammar": "root ::= " + " | ".join(literals)}
    raise _cannot(
        f"a guide of kind {guide.kind}",
        "which it cannot check before it runs; send kind json or choice",
        "guide",
    )


def _choices(source: str) -> list[str]:
    kind = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)]
    try:
        choices: list[str] = msgspec.json.decode(source, type=kind)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(
            f"the guide's choices are no JSON list of texts: {error}", param="guide"
        ) from error
    return choices


def _cannot(what: str, way_out: str, param: str | None = None) -> InvalidRequest:
    return InvalidRequest(
        f"openvino-genai cannot do {what}; {way_out}, or use another engine (generate.engine)",
        param=param or what,
    )
