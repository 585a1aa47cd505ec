"""The part of the OpenAPI description that is about `/admin`; see `openapi.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from paceline.base.admin_api import (
    Batches,
    LeaseRenewal,
    SettingsChange,
    SettingsChanged,
    SettingsState,
    Steps,
)

_LEASE = {
    "name": "lease",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "example": "q1Zt0hmYh4kQ3v2a",
}
_SINCE = {
    "name": "since",
    "in": "query",
    "description": "The `next` of the last reply; 0 for all that are kept.",
    "schema": {"type": "integer", "minimum": 0, "maximum": 10**15 - 1, "default": 0},
}
_CHANGE = {"changes": {"embed.batch.max_size": 8}, "lease_s": 10.0}


def admin_schemas(settings: Mapping[str, Mapping[str, Any]], ref_template: str) -> dict[str, Any]:
    """The schemas that `admin_paths` refers to; `settings` describe those that may change, by name."""
    _, schemas = msgspec.json.schema_components(
        (SettingsChange, LeaseRenewal, SettingsState, SettingsChanged, Batches, Steps),
        ref_template=ref_template,
    )
    schemas["SettingsChange"]["properties"]["changes"]["properties"] = dict(settings)
    for body, field in (("Batches", "batches"), ("Steps", "steps")):
        row = schemas[body]["properties"][field]["items"]
        row["prefixItems"] = row.pop("items")  # as JSON Schema 2020-12, OpenAPI's, spells a tuple
    return schemas


def admin_paths() -> dict[str, Any]:
    """The paths, each with the token of its own."""
    return {
        "/admin/settings": {
            "get": _operation("getSettings", "Settings of the running server", "SettingsState"),
            "patch": _operation(
                "changeSettings",
                "Change live settings, for good or on trial",
                "SettingsChanged",
                body=("SettingsChange", _CHANGE),
                errors=(404, 409),
            ),
        },
        "/admin/settings/lease/{lease}": {
            "parameters": [_LEASE],
            "post": _operation(
                "renewLease",
                "Let a trial go on",
                "SettingsChanged",
                body=("LeaseRenewal", {"lease_s": 10.0}),
                errors=(404,),
            ),
            "delete": _operation("revertLease", "End a trial and go back", "SettingsChanged", errors=(404,)),
        },
        "/admin/settings/lease/{lease}/keep": {
            "parameters": [_LEASE],
            "post": _operation("keepLease", "Make a trial permanent", "SettingsChanged", errors=(404,)),
        },
        "/admin/batches": {
            "get": {
                **_operation("getBatches", "The batches that ran lately", "Batches", errors=(400,)),
                "parameters": [_SINCE],
            }
        },
        "/admin/steps": {
            "get": {
                **_operation("getSteps", "The steps of the generating engine", "Steps", errors=(400,)),
                "parameters": [_SINCE],
            }
        },
    }


def _operation(
    operation: str,
    summary: str,
    reply: str,
    *,
    body: tuple[str, Mapping[str, Any]] | None = None,
    errors: tuple[int, ...] = (),
) -> dict[str, Any]:
    """With a `body`, its schema and an example; errors beside those that every such call may meet."""
    described: dict[str, Any] = {
        "operationId": operation,
        "summary": summary,
        "tags": ["administration"],
        "security": [{"admin": []}],
    }
    every = {*errors, 401, 503}
    if body is not None:
        name, example = body
        schema = {"schema": {"$ref": f"#/components/schemas/{name}"}}
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {**schema, "example": example}, "application/msgpack": schema},
        }
        every |= {400, 413, 415}
    described["responses"] = {
        "200": {
            "description": f"{summary}.",
            "headers": {"x-request-id": {"$ref": "#/components/headers/x-request-id"}},
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{reply}"}}},
        },
        **{str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(every)},
    }
    return described
