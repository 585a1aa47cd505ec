"""uvicorn's HTTP protocol with a short cut: a reply that is known as a whole leaves in one piece.

Give it to `uvicorn.Config(http=HttpProtocol)`. ASGI's two `send` calls cost uvicorn two system calls and two regular
expressions a header, together a quarter of a cached hit (benchmarks/http_cached_hit.py). The short cut is offered in
the scope's `extensions`, as ASGI provides; without it, replies take the ordinary way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

EXTENSION: Final = "paceline.whole_reply"


class HttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 that offers `whole_reply`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._extensions: dict[str, dict[object, object]] = {EXTENSION: {"reply": self.whole_reply}}

    def on_message_begin(self) -> None:
        """See HttpToolsProtocol."""
        super().on_message_begin()
        self.scope["extensions"] = self._extensions

    def whole_reply(
        self, scope: Scope, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes
    ) -> bool:
        """Send a reply and end its exchange; False, and nothing done, where the ordinary way is needed.

        `headers` must be valid: they are not checked again.
        """
        cycle = self.cycle
        if (
            cycle.scope is not scope  # pipelined: another request came before this reply
            or cycle.response_started
            or cycle.disconnected
            or not cycle.keep_alive
            or self.flow.write_paused
            or scope["method"] == "HEAD"  # whose replies have no body
        ):
            return False
        pieces = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            pieces += (name, b": ", value, b"\r\n")
        for name, value in headers:
            pieces += (name, b": ", value, b"\r\n")
        pieces += (b"\r\n", body)
        self.transport.write(b"".join(pieces))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        cycle.on_response()
        return True
