"""The part of the OpenAPI description that is about collections of vectors; see `openapi.py`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from paceline.base.vectors_collections import (
    Compact,
    ComparePrecisions,
    CreateCollection,
    Describe,
    Reencode,
    Reshard,
    Restore,
    Snapshot,
    Tune,
    Verify,
)
from paceline.base.vectors_records import Delete, Fetch, ListIds, Query, Search, Update, Upsert
from paceline.serve.openapi_parts import (
    JSON,
    MSGPACK,
    ON_LIMITED,
    REF,
    REQUEST_HEADERS,
    body_of,
    call,
    headers,
    responses,
    schema_of,
    security,
)
from paceline.serve.pinecone_indexes import CreateIndex
from paceline.serve.vectors_table import OPERATIONS, Operation

_NAME: Final = "glosses"
_VECTOR: Final = [0.0187, -0.0432, 0.0611, 0.0954, -0.0207, 0.0333, -0.0718, 0.0125]
_STATUSES: Final = (400, 404, 409, 429, 500, 503, 504, 507)
"""Of all operations, beside those of a body and of a token."""

_EXAMPLES: Final[dict[type[Any], dict[str, Any]]] = {
    Upsert: {"vectors": [{"id": "sea", "values": _VECTOR, "metadata": {"letters": 3}}]},
    Query: {"vector": _VECTOR, "topK": 3, "includeMetadata": True},
    Search: {"text": "a large body of water", "topK": 3},
    Fetch: {"ids": ["sea"]},
    Update: {"id": "sea", "setMetadata": {"letters": 3}},
    Delete: {"ids": ["lake"]},
    ListIds: {"prefix": "s", "limit": 100},
    Describe: {},
    CreateCollection: {"name": _NAME, "dimension": 8, "metric": "cosine"},
    Tune: {"recall": 0.99, "k": 10},
    Compact: {},
    Verify: {},
    ComparePrecisions: {"k": 10},
    Reencode: {"precision": "fp16"},
    Reshard: {"shards": 2},
    Snapshot: {"name": "monday"},
    Restore: {"source": _NAME, "name": "monday"},
    CreateIndex: {"name": _NAME, "dimension": 8, "metric": "cosine"},
}


def vector_paths(*, secured: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Schemas and paths."""
    asked = {operation.asked for operation in OPERATIONS}
    told = {operation.reply for operation in OPERATIONS}
    _, schemas = msgspec.json.schema_components(
        sorted(asked | told, key=lambda kind: kind.__name__), ref_template=REF
    )
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        for path in operation.paths:
            place = paths.setdefault(path, {})
            if "{name}" in path:
                place["parameters"] = [
                    {
                        "name": "name",
                        "in": "path",
                        "required": True,
                        "description": "The collection.",
                        "schema": {"type": "string"},
                        "example": _NAME,
                    }
                ]
            for method in operation.methods:
                place[method.lower()] = _described(operation, path, method, schemas, secured=secured)
    return schemas, paths


def _described(
    operation: Operation, path: str, method: str, schemas: dict[str, Any], *, secured: bool
) -> dict[str, Any]:
    name, tag = _id(operation, path), "indexes" if "/indexes" in path else "vectors"
    content = schema_of(operation.reply.__name__)
    reply = {
        "description": operation.summary + ".",
        "headers": headers("x-request-id", "server-timing", "x-paceline-cache", *ON_LIMITED),
        "content": {JSON: content, MSGPACK: content},
    }
    if method == "POST":
        body = body_of(operation.asked.__name__, _EXAMPLES[operation.asked])
        told = call(name, operation.summary, tag, body, reply, secured=secured)
        told["responses"] |= responses(*_STATUSES)
        told["requestBody"]["required"] = bool(schemas[operation.asked.__name__].get("required"))
        return told
    return {
        "operationId": f"{name}ByQuery" if "POST" in operation.methods else name,
        "summary": operation.summary,
        "tags": [tag],
        "security": security(secured=secured),
        "parameters": [
            *({"$ref": f"#/components/parameters/{header}"} for header in REQUEST_HEADERS),
            *_parameters(operation, path, schemas),
        ],
        "responses": {"200": reply, **responses(*_STATUSES, *((401,) if secured else ()))},
    }


def _id(operation: Operation, path: str) -> str:
    """Such as `upsertVectors`, `upsertVectorsOf` (a collection named in the path), `tuneCollection`, `listIndexes`."""
    first, *rest = operation.name.split("_")
    if rest:
        return first + "".join(word.capitalize() for word in rest)
    if len(operation.paths) == 1:
        return f"{first}Collection"
    return f"{first}VectorsOf" if path != operation.paths[0] else f"{first}Vectors"


def _parameters(operation: Operation, path: str, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of what is asked, in a query string."""
    schema = schemas[operation.asked.__name__]
    parameters = []
    for name, field in schema["properties"].items():
        if name == "collection" and "{name}" in path:
            continue
        kinds = [kind for kind in field.get("anyOf", ()) if kind.get("type") != "null"]
        told = {key: value for key, value in field.items() if key not in {"anyOf", "default"}}
        parameters.append(
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "schema": {**told, **kinds[0]} if kinds else told,
            }
        )
    return parameters
