"""The OpenAPI 3.1 description, made from the wire structs and the error table, for the models served right now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from paceline import __version__
from paceline.base.api import ModelCard, ModelList, Problem
from paceline.serve.openapi_admin import admin_paths, admin_schemas
from paceline.serve.openapi_embed import embed_part
from paceline.serve.openapi_generate import generate_part
from paceline.serve.openapi_parts import (
    JSON,
    PROBLEM,
    REF,
    REPLY_HEADERS,
    REQUEST_HEADERS,
    Part,
    body_of,
    call,
    headers,
    schema_of,
    security,
)
from paceline.serve.openapi_vectors import vector_paths
from paceline.serve.problem import STATUS, TITLE

_PARTS: dict[str, Callable[..., Part]] = {"embed": embed_part, "generate": generate_part}
"""By the task of a model card."""
_ON_ERROR = {
    401: ("www-authenticate",),
    405: ("allow",),
    409: ("retry-after",),
    429: ("retry-after",),
    503: ("retry-after",),
}


def openapi(
    cards: Sequence[ModelCard],
    *,
    secured: bool,
    admin: Mapping[str, Mapping[str, Any]] | None = None,
    vectors: bool = False,
) -> dict[str, Any]:
    """The document as plain dicts; `secured` says whether a token is needed, `vectors` whether there are collections.

    `admin` are the schemas of the settings that may change, where there are administration routes.
    """
    _, schemas = msgspec.json.schema_components((ModelList, ModelCard, Problem), ref_template=REF)
    schemas["Health"] = {
        "type": "object",
        "properties": {"status": {"type": "string"}},
        "required": ["status"],
        "description": "State of the server and its parts.",
    }
    parts = [
        part_of([card for card in cards if card.task == task], secured=secured)
        for task, part_of in _PARTS.items()
        if not cards or any(card.task == task for card in cards)
    ]
    paths: dict[str, Any] = {}
    for part in parts:
        schemas |= part.schemas
        paths |= part.paths
    schemas["InferRequest"] = _any_task(parts)
    paths["/v1/infer"] = {"post": _infer(parts, secured=secured)}
    if vectors:
        more, places = vector_paths(secured=secured)
        schemas |= more
        paths |= places
    paths |= _documents(cards[0].id if cards else "all-MiniLM-L6-v2", secured=secured)
    schemes = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "`auth.token` or one of `auth.tokens`.",
        },
        "key": {
            "type": "apiKey",
            "in": "header",
            "name": "Api-Key",
            "description": "The same token, as Pinecone's clients send it.",
        },
    }
    if admin is not None:
        paths |= admin_paths()
        schemas |= admin_schemas(admin, REF)
        schemes["admin"] = {"type": "http", "scheme": "bearer", "description": "`admin.token`."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Paceline",
            "version": __version__,
            "description": "Models that batch, cache and protect themselves. Errors are RFC 9457 problems.",
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
                for name, told in REQUEST_HEADERS.items()
            },
            "headers": REPLY_HEADERS,
        },
    }


def _any_task(parts: Sequence[Part]) -> dict[str, Any]:
    """The body of `/v1/infer`: that of one of the tasks."""
    refs = [{"$ref": REF.format(name=part.infer)} for part in parts]
    return {"oneOf": refs, "description": "One door to every task: `task` says which."}


def _infer(parts: Sequence[Part], *, secured: bool) -> dict[str, Any]:
    first = parts[0]
    contents: dict[str, list[dict[str, Any]]] = {}
    for part in parts:
        for media_type, content in part.infer_reply["content"].items():
            contents.setdefault(media_type, []).append(content)
    reply = {
        **first.infer_reply,
        "description": " Or: ".join(part.infer_reply["description"] for part in parts),
        "content": {
            media_type: several[0]
            if len(several) == 1
            else {**several[0], "schema": {"anyOf": [content["schema"] for content in several]}}
            for media_type, several in contents.items()
        },
    }
    return call(
        "infer",
        "Any task, by name",
        "tasks",
        body_of("InferRequest", first.infer_example),
        reply,
        secured=secured,
    )


def _documents(model: str, *, secured: bool) -> dict[str, Any]:
    health = {"schema": {"$ref": REF.format(name="Health")}, "example": {"status": "ok"}}
    return {
        "/v1/models": {
            "get": _read(
                "listModels",
                "Models served here",
                JSON,
                schema_of("ModelList"),
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
                "getModel", "One model", JSON, schema_of("ModelCard"), errors=(401, 404, 429), secured=secured
            ),
        },
        "/health": {"get": _read("health", "State of every part", JSON, health)},
        "/health/live": {"get": _read("live", "The process answers", JSON, health)},
        "/health/ready": {
            "get": _read(
                "ready",
                "New callers are welcome",
                JSON,
                health,
                more={"503": {"description": "Starting or draining.", "content": {JSON: health}}},
            )
        },
        "/metrics": {
            "get": _read("metrics", "Prometheus metrics", "text/plain", {"schema": {"type": "string"}})
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
        "security": [] if secured is None else security(secured=secured),
        "responses": {
            "200": {
                "description": summary + ".",
                "headers": headers("x-request-id"),
                "content": {media_type: content},
            },
            **(more or {}),
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in errors},
        },
    }


def _error(status: int) -> dict[str, Any]:
    codes = sorted({error.code for error, its in STATUS.items() if its == status})
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
        "headers": headers("x-request-id", *_ON_ERROR.get(status, ())),
        "content": {PROBLEM: {**schema_of("Problem"), "example": example}},
    }
