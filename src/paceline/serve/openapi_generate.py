"""The part of the OpenAPI description that is about generated text; see `openapi.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from paceline.base.api import ModelCard
from paceline.base.generate_api import (
    MAX_CHOICES,
    ChatRequest,
    CompletionRequest,
    GenerateInfer,
    InferenceRequest,
    ScoreBody,
)
from paceline.base.generate_replies import (
    ChatChunk,
    ChatReply,
    CompletionReply,
    InferenceChunk,
    InferenceReply,
    ScoreReply,
)
from paceline.serve.openapi_parts import JSON, ON_LIMITED, REF, Part, body_of, call, headers, schema_of

_STREAM = "text/event-stream"
_TOKEN = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_IDS = {"type": "array", "minItems": 1, "items": _TOKEN}
_WORDS = {"type": "string", "minLength": 1}
_PROMPT = "The sea is"
_USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 2,
    "total_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 0},
}


def generate_part(cards: Sequence[ModelCard], *, secured: bool) -> Part:
    """`cards` are of the models that generate; without any the API is described all the same."""
    _, schemas = msgspec.json.schema_components(
        (
            *(CompletionRequest, ChatRequest, InferenceRequest, GenerateInfer, ScoreBody),
            *(CompletionReply, ChatReply, ChatChunk, InferenceReply, InferenceChunk, ScoreReply),
        ),
        ref_template=REF,
    )
    for name in ("CompletionRequest", "ChatRequest", "InferenceRequest", "GenerateInfer", "ScoreBody"):
        _narrow(schemas[name]["properties"], cards)
    for name in ("CompletionRequest", "InferenceRequest", "GenerateInfer"):
        prompt = schemas[name]["properties"]["prompt"]
        del prompt["anyOf"]
        prompt["oneOf"] = [_WORDS, _IDS]
    schemas["CompletionRequest"]["properties"]["prompt"]["oneOf"] += [
        {"type": "array", "minItems": 1, "maxItems": MAX_CHOICES, "items": _WORDS},
        {"type": "array", "minItems": 1, "maxItems": MAX_CHOICES, "items": _IDS},
    ]
    schemas["ScoreBody"] = _either(schemas["ScoreBody"])
    model = cards[0].id if cards else "SmolLM2-135M-Instruct"
    told = {"id": "x-1", "created": 1767225600, "model": model}
    choice = {"index": 0, "finish_reason": "length", "logprobs": None}
    message = {"role": "assistant", "content": "Deep.", "tool_calls": None}
    completion = _streamed(
        "CompletionReply",
        "CompletionReply",
        {**told, "object": "text_completion", "choices": [{**choice, "text": " deep"}], "usage": _USAGE},
    )
    chat = _streamed(
        "ChatReply",
        "ChatChunk",
        {**told, "object": "chat.completion", "choices": [{**choice, "message": message}], "usage": _USAGE},
    )
    inference = _streamed(
        "InferenceReply",
        "InferenceChunk",
        {**told, "object": "inference", "text": " deep", "finish_reason": "length", "usage": _USAGE},
    )
    asked = {"prompt": _PROMPT, "max_tokens": 32, "temperature": 0.7}
    messages = [{"role": "user", "content": "What is the sea like?"}]
    ways = (
        ("completions", "createCompletion", "Go on with a prompt", "CompletionRequest", asked, completion),
        (
            *("chat/completions", "createChatCompletion", "Answer in a conversation", "ChatRequest"),
            {"messages": messages, "max_tokens": 64},
            chat,
        ),
        ("inference", "inference", "One prompt, one answer", "InferenceRequest", asked, inference),
        (
            *("score", "score", "Which continuation is likelier", "ScoreBody"),
            {"context": _PROMPT, "continuations": [" deep", " loud"]},
            _score(model),
        ),
    )
    return Part(
        schemas,
        {
            f"/v1/{path}": {
                "post": call(
                    operation,
                    summary,
                    "generation",
                    body_of(kind, {"model": model, **request}),
                    reply,
                    secured=secured,
                )
            }
            for path, operation, summary, kind, request, reply in ways
        },
        infer="GenerateInfer",
        infer_example={"task": "generate", "model": model, **asked},
        infer_reply=inference,
    )


def _streamed(whole: str, chunk: str, example: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": f"The answer; with `stream` server-sent events, each a `{chunk}` behind `data: `, ended by "
        "`data: [DONE]`. A stream that fails ends with `event: error` and a Problem instead.",
        "headers": headers("x-request-id", "server-timing", "x-paceline-cache", *ON_LIMITED),
        "content": {
            JSON: {**schema_of(whole), "example": example},
            _STREAM: {"schema": _event(chunk)},
        },
    }


def _event(chunk: str) -> dict[str, Any]:
    """Each event of a stream."""
    json = {"type": "string", "contentMediaType": JSON}
    data = [{**json, "contentSchema": {"$ref": REF.format(name=name)}} for name in (chunk, "Problem")]
    return {
        "type": "object",
        "properties": {
            "data": {"anyOf": [*data, {"const": "[DONE]"}]},
            "event": {"type": "string", "description": "`error` when `data` is a Problem."},
        },
        "required": ["data"],
    }


def _score(model: str) -> dict[str, Any]:
    score = {"index": 0, "logprob": -1.5, "tokens": [3001], "token_logprobs": [-1.5], "greedy": True}
    return {
        "description": "Sums and tokens of natural log-probabilities, in the order of the continuations.",
        "headers": headers("x-request-id", *ON_LIMITED),
        "content": {
            JSON: {
                **schema_of("ScoreReply"),
                "example": {"object": "list", "model": model, "data": [score]},
            }
        },
    }


def _narrow(properties: dict[str, Any], cards: Sequence[ModelCard]) -> None:
    """Say what the types cannot: what a token id looks like as a name, which models there are."""
    for choice in properties.get("logit_bias", {}).get("anyOf", ()):
        if choice["type"] == "object":
            choice["propertyNames"] = {"pattern": "^(0|[1-9][0-9]{0,8})$"}
    if cards:
        names: dict[str, Any] = {"enum": [card.id for card in cards]}
        properties["model"] = {"description": "Model id as listed by `/v1/models`.", **names}
        if len(cards) == 1:
            properties["model"] = {
                "description": "Model id as listed by `/v1/models`; may be left out.",
                "anyOf": [names, {"type": "null"}],
                "default": None,
            }


def _either(score: dict[str, Any]) -> dict[str, Any]:
    """The two shapes of a scoring request, each without the other's fields."""
    properties: dict[str, Any] = score["properties"]
    prompt, context = (_without_null(properties.pop(name)) for name in ("prompt", "context"))
    continuations = _without_null(properties.pop("continuations"))
    several = {"type": "array", "minItems": 1, "maxItems": MAX_CHOICES}
    continuations = {
        "description": continuations["description"],
        "oneOf": [{**several, "items": _WORDS}, {**several, "items": _IDS}],
    }
    return {
        "description": score["description"],
        "oneOf": [
            {
                "type": "object",
                "properties": {"context": context, "continuations": continuations, **properties},
                "required": ["context", "continuations"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "properties": {"prompt": prompt, **properties},
                "required": ["prompt"],
                "additionalProperties": False,
            },
        ],
    }


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    choices = [choice for choice in schema["anyOf"] if choice.get("type") != "null"]
    return {"description": schema["description"], "anyOf": choices}
