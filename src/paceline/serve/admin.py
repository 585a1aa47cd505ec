"""`/admin`: settings of the running server, changes on trial, and the batches that ran. Off without `admin.token`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from paceline.base.admin_api import (
    Batches,
    LeaseRenewal,
    SettingsChange,
    SettingsChanged,
    SettingsState,
    Steps,
)
from paceline.base.errors import InvalidRequest
from paceline.serve.auth import Tokens
from paceline.serve.decode import Decoder, read_body

MAX_BODY_BYTES = 1 << 20
"""A bound of its own: `serve.max_body_bytes` is one of the settings that are changed here."""


class Control(Protocol):
    """What the routes need of whoever keeps the settings. `who` goes to the audit.

    Every call that changes something returns when all processes of the server have the new values.
    """

    async def settings(self) -> SettingsState:
        """Every setting, and the lease in force."""

    async def change(self, change: SettingsChange, who: str) -> SettingsChanged:
        """Raises SettingRefused, NotLive, LeaseHeld, LeaseUnknown."""

    async def renew(self, lease: str, lease_s: float) -> SettingsChanged:
        """Raises LeaseUnknown."""

    async def revert(self, lease: str, who: str) -> SettingsChanged:
        """Raises LeaseUnknown."""

    async def keep(self, lease: str, who: str) -> SettingsChanged:
        """Raises LeaseUnknown."""

    async def batches(self, since: int) -> Batches:
        """The batches from number `since` on, of the last few thousand."""

    async def steps(self, since: int) -> Steps:
        """The steps of the generating engine from number `since` on, of the last few thousand."""


class Admin:
    """The routes."""

    def __init__(self, tokens: Tokens, control: Control, schemas: Mapping[str, Mapping[str, Any]]) -> None:
        """`schemas` describe the settings that may change, by name."""
        self.schemas = schemas
        self._tokens = tokens
        self._control = control
        self._decode_change = Decoder(SettingsChange).decode
        self._decode_renewal = Decoder(LeaseRenewal).decode
        self.routes = [
            Route("/admin/settings", self.settings, methods=["GET", "PATCH"]),
            Route("/admin/settings/lease/{lease}", self.lease, methods=["POST", "DELETE"]),
            Route("/admin/settings/lease/{lease}/keep", self.keep, methods=["POST"]),
            Route("/admin/batches", self.batches),
            Route("/admin/steps", self.steps),
        ]

    async def settings(self, request: Request) -> Response:
        """Show or change settings."""
        who = self._who(request)
        if request.method != "PATCH":
            return _json(await self._control.settings())
        change = self._decode_change(await _body(request), _headers(request))
        return _json(await self._control.change(change, who))

    async def lease(self, request: Request) -> Response:
        """Renew a trial, or end it."""
        who, lease = self._who(request), request.path_params["lease"]
        if request.method == "DELETE":
            return _json(await self._control.revert(lease, who))
        renewal = self._decode_renewal(await _body(request), _headers(request))
        return _json(await self._control.renew(lease, renewal.lease_s))

    async def keep(self, request: Request) -> Response:
        """Make a trial permanent."""
        who = self._who(request)
        return _json(await self._control.keep(request.path_params["lease"], who))

    async def batches(self, request: Request) -> Response:
        """The batches that ran lately."""
        return _json(await self._control.batches(self._since(request)))

    async def steps(self, request: Request) -> Response:
        """The steps that ran lately, and their fitted time."""
        return _json(await self._control.steps(self._since(request)))

    def _since(self, request: Request) -> int:
        """The number asked for; raises Unauthorised, InvalidRequest."""
        self._who(request)
        text = request.query_params.get("since", "0")
        if not (text.isascii() and text.isdigit() and len(text) <= 15):
            raise InvalidRequest(
                f"since is {text[:40]!r}; send the `next` of the last reply, or 0 for all that are kept",
                param="since",
            )
        return int(text)

    def _who(self, request: Request) -> str:
        """Token name and address of the caller; raises Unauthorised."""
        name = self._tokens.authorise(_headers(request).get(b"authorization"))
        return f"{name}@{request.client.host if request.client else 'local'}"


def _headers(request: Request) -> dict[bytes, bytes]:
    return dict(request.scope["headers"])


async def _body(request: Request) -> bytes:
    return await read_body(request.receive, _headers(request), MAX_BODY_BYTES)


def _json(content: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")
