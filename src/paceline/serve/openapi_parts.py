"""Pieces that every part of the OpenAPI description uses."""

from __future__ import annotations

from typing import Any

import msgspec

from paceline.serve.call import MAX_TIMEOUT_MS

REF = "#/components/schemas/{name}"
JSON, MSGPACK, PROBLEM = "application/json", "application/msgpack", "application/problem+json"

REQUEST_HEADERS: dict[str, dict[str, Any]] = {
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

REPLY_HEADERS: dict[str, dict[str, Any]] = {
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
ON_LIMITED = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")


class Part(msgspec.Struct, frozen=True):
    """What one task adds to the description."""

    schemas: dict[str, Any]
    paths: dict[str, Any]
    infer: str
    """Name of the schema that `/v1/infer` takes for this task."""
    infer_example: dict[str, Any]
    infer_reply: dict[str, Any]


def body_of(name: str, example: dict[str, Any]) -> dict[str, Any]:
    """A request's content by media type."""
    return {JSON: {**schema_of(name), "example": example}, MSGPACK: schema_of(name)}


def schema_of(name: str) -> dict[str, Any]:
    """A reference to a schema, as content."""
    return {"schema": {"$ref": REF.format(name=name)}}


def security(*, secured: bool) -> list[dict[str, list[str]]]:
    """Whether a token is needed, in either of two headers."""
    return [{"bearer": []}, {"key": []}] if secured else []


def headers(*names: str) -> dict[str, Any]:
    """References to headers of replies."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def responses(*statuses: int) -> dict[str, Any]:
    """References to the replies that tell a problem."""
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}


def call(  # noqa: PLR0913 - one line of a table
    operation: str,
    summary: str,
    tag: str,
    request: dict[str, Any],
    reply: dict[str, Any],
    *,
    secured: bool,
) -> dict[str, Any]:
    """A POST: its `request` content by media type, and its good `reply`."""
    statuses = (400, 404, 413, 415, 429, 500, 503, 504, *((401,) if secured else ()))
    return {
        "operationId": operation,
        "summary": summary,
        "tags": [tag],
        "security": security(secured=secured),
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in REQUEST_HEADERS],
        "requestBody": {"required": True, "content": request},
        "responses": {"200": reply, **responses(*statuses)},
    }
