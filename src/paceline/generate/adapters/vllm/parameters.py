"""A request in vLLM's words: the keyword arguments of its `SamplingParams`."""

from __future__ import annotations

import json
from typing import Any

from paceline.base.errors import InvalidRequest
from paceline.base.generation import GenerateRequest, Guide


def parameters_of(request: GenerateRequest, *, max_tokens: int) -> dict[str, Any]:
    """But for `output_kind`; `structured_outputs` holds those of a `StructuredOutputsParams`. Raises InvalidRequest."""
    sampling = request.sampling
    parameters: dict[str, Any] = {
        "n": request.n,
        "max_tokens": max_tokens,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "seed": sampling.seed,
        "stop": list(request.stop),
        "stop_token_ids": list(request.stop_token_ids),
        "ignore_eos": request.ignore_eos,
        "logprobs": request.logprobs,
        "prompt_logprobs": request.prompt_logprobs,
    }
    if sampling.logit_bias:
        parameters["logit_bias"] = dict(sampling.logit_bias)
    if sampling.guide is not None:
        parameters["structured_outputs"] = _guide(sampling.guide)
    return parameters


def _guide(guide: Guide) -> dict[str, Any]:
    match guide.kind:
        case "json":
            return {"json_object": True}
        case "json_schema":
            return {"json": guide.source}
        case "choice":
            try:
                return {"choice": json.loads(guide.source)}
            except ValueError as error:
                raise InvalidRequest(
                    f"the guide's choices are no JSON list: {error}", param="guide"
                ) from error
        case "regex" | "grammar":
            return {guide.kind: guide.source}
