"""The OpenAPI 3.1 description, made from the wire structs and the error table, for the models served right now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from paceline import __version__
from paceline.base.api import EmbedInfer, EmbedReply, EmbedRequest, ModelCard, ModelList, Problem
from paceline.base.errors import all_errors
from paceline.serve.call import MAX_TIMEOUT_MS
from paceline.serve.openapi_admin import admin_paths, admin_schemas
from paceline.serve.problem import STATUS, TITLE

_REF = "#/components/schemas/{name}"
_JSON, _MSGPACK, _PROBLEM = "application/json", "application/msgpack", "application/problem+json"

_TEXT = "Nodes of a sentence are words; edges are what holds it together."
_VECTOR = [0.0187, -0.0432, 0.0611]

_REQUEST_HEADERS: dict[str, dict[str, Any]] = {
    "x-request-id": {
        "description": "Name of the request in replies and logs: up to 128 letters, digits and `._:/+=@-`; "
        "anything else is replaced by a name of ours.",
        "schema": {"type": "string"},
        "example": "demo-1",
    },
    "x-request-timeout-ms": {
        "description": "The caller's patience in milliseconds; refused or given up with 504 when it does not suffice.",
        "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_TIMEOUT_MS},
        "example": 2000,
    },
}

_REPLY_HEADERS: dict[str, dict[str, Any]] = {
    "x-request-id": {"description": "Name of the request, also in the log.", "schema": {"type": "string"}},
    "server-timing": {
        "description": "Milliseconds in each stage: tok, queue, wait (part of queue), run, total.",
        "schema": {"type": "string"},
    },
    "x-paceline-cache": {
        "description": "Slowest cache tier that answered.",
        "schema": {"enum": ["l1", "l2", "l3", "flight", "miss", "bypass"]},
    },
    "x-ratelimit-limit-requests": {"description": "Requests allowed.", "schema": {"type": "integer"}},
    "x-ratelimit-remaining-requests": {"description": "Requests left.", "schema": {"type": "integer"}},
    "x-ratelimit-reset-requests": {
        "description": "When all are back, as `12.5s`.",
        "schema": {"type": "string"},
    },
    "retry-after": {
        "description": "Seconds to wait before the next try.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "www-authenticate": {"description": "How to authorise.", "schema": {"type": "string"}},
    "allow": {"description": "Methods of this path.", "schema": {"type": "string"}},
}
_ON_LIMITED = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
_ON_ERROR = {
    401: ("www-authenticate",),
    405: ("allow",),
    409: ("retry-after",),
    429: ("retry-after",),
    503: ("retry-after",),
}


def openapi(
    cards: Sequence[ModelCard], *, secured: bool, admin: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """The document as plain dicts; `secured` says whether a bearer token is needed.

    `admin` are the schemas of the settings that may change, where there are administration routes.
    """
    _, schemas = msgspec.json.schema_components(
        (EmbedRequest, EmbedReply, EmbedInfer, ModelList, ModelCard, Problem), ref_template=_REF
    )
    for name in ("EmbedRequest", "EmbedInfer"):
        _narrow(schemas[name]["properties"], cards)
    schemas["Health"] = {
        "type": "object",
        "properties": {"status": {"type": "string"}},
        "required": ["status"],
        "description": "State of the server and its parts.",
    }
    model = cards[0].id if cards else "all-MiniLM-L6-v2"
    paths = _paths(model, secured=secured)
    schemes = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "`auth.token` or one of `auth.tokens`.",
        }
    }
    if admin is not None:
        paths |= admin_paths()
        schemas |= admin_schemas(admin, _REF)
        schemes["admin"] = {"type": "http", "scheme": "bearer", "description": "`admin.token`."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Paceline",
            "version": __version__,
            "description": "Embeddings that batch, cache and protect themselves. Errors are RFC 9457 problems.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": schemes,
            "responses": {str(status): _error(status) for status in TITLE},
            "parameters": {
                name: {"name": name, "in": "header", "required": False, **told}
                for name, told in _REQUEST_HEADERS.items()
            },
            "headers": _REPLY_HEADERS,
        },
    }


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


def _paths(model: str, *, secured: bool) -> dict[str, Any]:
    request = {"model": model, "input": [_TEXT, "A second text."], "encoding_format": "float"}
    reply = {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": _VECTOR}],
        "model": model,
        "usage": {"prompt_tokens": 14, "total_tokens": 14},
        "truncated": [],
    }
    health = {"schema": {"$ref": _REF.format(name="Health")}, "example": {"status": "ok"}}
    return {
        "/v1/embeddings": {
            "post": _call("createEmbedding", "Embed texts", "EmbedRequest", request, reply, secured=secured)
        },
        "/v1/infer": {
            "post": _call(
                "infer",
                "Any task, by name",
                "EmbedInfer",
                {"task": "embed", **request},
                reply,
                secured=secured,
            )
        },
        "/v1/models": {
            "get": _read(
                "listModels",
                "Models served here",
                _JSON,
                _schema("ModelList"),
                errors=(401, 429),
                secured=secured,
            )
        },
        "/v1/models/{model}": {
            "parameters": [
                {
                    "name": "model",
                    "in": "path",
                    "required": True,
                    "schema": {"type": "string"},
                    "example": model,
                }
            ],
            "get": _read(
                "getModel", "One model", _JSON, _schema("ModelCard"), errors=(401, 404, 429), secured=secured
            ),
        },
        "/health": {"get": _read("health", "State of every part", _JSON, health)},
        "/health/live": {"get": _read("live", "The process answers", _JSON, health)},
        "/health/ready": {
            "get": _read(
                "ready",
                "New callers are welcome",
                _JSON,
                health,
                more={"503": {"description": "Starting or draining.", "content": {_JSON: health}}},
            )
        },
        "/metrics": {
            "get": _read("metrics", "Prometheus metrics", "text/plain", {"schema": {"type": "string"}})
        },
    }


def _call(  # noqa: PLR0913 - one line of a table
    operation: str, summary: str, kind: str, request: dict[str, Any], reply: dict[str, Any], *, secured: bool
) -> dict[str, Any]:
    body = {"schema": {"$ref": _REF.format(name=kind)}}
    errors = (400, 404, 413, 415, 429, 500, 503, 504, *((401,) if secured else ()))
    return {
        "operationId": operation,
        "summary": summary,
        "tags": ["embeddings"],
        "security": _security(secured=secured),
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in _REQUEST_HEADERS],
        "requestBody": {"required": True, "content": {_JSON: {**body, "example": request}, _MSGPACK: body}},
        "responses": {
            "200": {
                "description": "Vectors in the order of the inputs. As MessagePack each is a bin of little-endian float32.",
                "headers": _headers("x-request-id", "server-timing", "x-paceline-cache", *_ON_LIMITED),
                "content": {
                    _JSON: {"schema": {"$ref": _REF.format(name="EmbedReply")}, "example": reply},
                    _MSGPACK: {"schema": {"$ref": _REF.format(name="EmbedReply")}},
                },
            },
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(errors)},
        },
    }


def _read(  # noqa: PLR0913 - one line of a table
    operation: str,
    summary: str,
    media_type: str,
    content: dict[str, Any],
    *,
    errors: tuple[int, ...] = (),
    more: dict[str, Any] | None = None,
    secured: bool | None = None,
) -> dict[str, Any]:
    return {
        "operationId": operation,
        "summary": summary,
        "tags": ["models" if operation.endswith(("Model", "Models")) else "operations"],
        "security": [] if secured is None else _security(secured=secured),
        "responses": {
            "200": {
                "description": summary + ".",
                "headers": _headers("x-request-id"),
                "content": {media_type: content},
            },
            **(more or {}),
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in errors},
        },
    }


def _schema(name: str) -> dict[str, Any]:
    return {"schema": {"$ref": _REF.format(name=name)}}


def _security(*, secured: bool) -> list[dict[str, list[str]]]:
    return [{"bearer": []}] if secured else []


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _error(status: int) -> dict[str, Any]:
    codes = sorted({error.code for error in all_errors() if STATUS[error] == status})
    example: dict[str, Any] = {
        "type": f"/docs#{codes[0]}",
        "title": TITLE[status],
        "status": status,
        "detail": "what is wrong, the limit, and the way out",
        "code": codes[0],
        "request_id": "demo-1",
        "error": {
            "message": "what is wrong, the limit, and the way out",
            "type": "",
            "param": None,
            "code": codes[0],
        },
    }
    return {
        "description": f"{TITLE[status]}: {', '.join(f'`{code}`' for code in codes)}.",
        "headers": _headers("x-request-id", *_ON_ERROR.get(status, ())),
        "content": {_PROBLEM: {**_schema("Problem"), "example": example}},
    }
