"""The part of the OpenAPI description that is about embeddings; see `openapi.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from paceline.base.api import EmbedInfer, EmbedReply, EmbedRequest, ModelCard
from paceline.serve.openapi_parts import (
    JSON,
    MSGPACK,
    ON_LIMITED,
    REF,
    Part,
    body_of,
    call,
    headers,
    schema_of,
)

_TEXT = "Nodes of a sentence are words; edges are what holds it together."
_VECTOR = [0.0187, -0.0432, 0.0611]


def embed_part(cards: Sequence[ModelCard], *, secured: bool) -> Part:
    """`cards` are of the models that embed; without any the API is described all the same."""
    _, schemas = msgspec.json.schema_components((EmbedRequest, EmbedReply, EmbedInfer), ref_template=REF)
    for name in ("EmbedRequest", "EmbedInfer"):
        _narrow(schemas[name]["properties"], cards)
    model = cards[0].id if cards else "all-MiniLM-L6-v2"
    request = {"model": model, "input": [_TEXT, "A second text."], "encoding_format": "float"}
    example = {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": _VECTOR}],
        "model": model,
        "usage": {"prompt_tokens": 14, "total_tokens": 14},
        "truncated": [],
    }
    reply = {
        "description": "Vectors in the order of the inputs. As MessagePack each is a bin of little-endian float32.",
        "headers": headers("x-request-id", "server-timing", "x-paceline-cache", *ON_LIMITED),
        "content": {
            JSON: {**schema_of("EmbedReply"), "example": example},
            MSGPACK: schema_of("EmbedReply"),
        },
    }
    return Part(
        schemas,
        {
            "/v1/embeddings": {
                "post": call(
                    "createEmbedding",
                    "Embed texts",
                    "embeddings",
                    body_of("EmbedRequest", request),
                    reply,
                    secured=secured,
                )
            }
        },
        infer="EmbedInfer",
        infer_example={"task": "embed", **request},
        infer_reply=reply,
    )


def _narrow(properties: dict[str, Any], cards: Sequence[ModelCard]) -> None:
    """Say what the types cannot: one kind of input a request, and what the models at hand allow."""
    token = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
    ids = {"type": "array", "minItems": 1, "items": token}
    properties["input"] = {
        "description": properties["input"].get(
            "description", "A text, texts, token ids, or lists of token ids."
        ),
        "oneOf": [
            {"type": "string"},
            {"type": "array", "minItems": 1, "items": {"type": "string"}},
            ids,
            {"type": "array", "minItems": 1, "items": ids},
        ],
    }
    if cards:
        properties["model"] = {
            "description": "Model id as listed by `/v1/models`; the first one if left out.",
            "anyOf": [{"enum": [card.id for card in cards]}, {"type": "null"}],
            "default": None,
        }
        for choice in properties["dimensions"].get("anyOf", [properties["dimensions"]]):
            if choice.get("type") == "integer":
                choice["maximum"] = min(card.dimensions for card in cards)
