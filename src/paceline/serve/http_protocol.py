"""uvicorn's HTTP protocol with two short cuts, for a reply that is known as a whole and for one that is known at once.

Give it to `uvicorn.Config(http=HttpProtocol)`. ASGI costs uvicorn a task, a scope and an exchange object a request, and
two system calls and two regular expressions a header for each reply: more than twice what a cached hit costs itself
(benchmarks/http_cached_hit.py).

`whole_reply` is offered in the scope's `extensions`, as ASGI provides: one system call for head and body.

The quick path is taken by applications that have `quick` (see `QuickApplication`): a plain POST that came whole, on a
connection where nothing else is under way, is shown to it first. What it cannot answer at once goes to uvicorn's parser
as if nothing had been; what it has begun by then (a limit counted, a body decoded) goes with it in `BEGUN`.
Without `quick`, under an access log, a concurrency limit or a root path, everything takes the ordinary way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final, Protocol, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from paceline.serve.head import END, Head, read_head

EXTENSION: Final = "paceline.whole_reply"
BEGUN: Final = "paceline.begun"

Header = tuple[bytes, bytes]
Reply = tuple[int, Iterable[Header], bytes]
"""Status, headers (valid: they are not checked again), body."""

_MAX_HEAD_BYTES = 4096
"""Heads are remembered, so this bounds memory; larger ones are rare."""
_MAX_BODY_BYTES = 65536
"""Larger requests are no matter of microseconds."""


class QuickApplication(Protocol):
    """An ASGI application that may know an answer at once."""

    def quick(
        self, head: Head, body: bytes, client: tuple[str, int] | None, came_at: float
    ) -> tuple[Reply | None, object]:
        """The reply, or None and what to find again in the scope's extension `BEGUN` (None for nothing).

        Must not raise. `came_at` is the instant of `time.monotonic` when the head came.
        """


class HttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 that offers `whole_reply` and takes the quick path."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._extensions: dict[str, dict[str, object]] = {EXTENSION: {"reply": self.whole_reply}}
        ordinary = self.access_log or self.limit_concurrency is not None or self.root_path
        self._takes_quick = hasattr(self.app, "quick") and not ordinary
        self._between = self._takes_quick
        """Whether the parser has seen the end of the last message and nothing since, and the quick path is open."""
        self._held = b""
        self._held_at = 0.0
        self._begun: object = None
        self._replied_at = 0.0

    # -- the quick path ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._between and (self.cycle is None or self.cycle.response_complete):
            came_at = time.monotonic()
            if self._held:
                data, came_at, self._held = self._held + data, self._held_at, b""
            if self._answered(data, came_at):
                return
        super().data_received(data)

    def _answered(self, data: bytes, came_at: float) -> bool:
        """Whether no more is to be done about `data`: it has its reply, or waits for the rest of its body."""
        end = data.find(END) + len(END)
        if not len(END) <= end <= _MAX_HEAD_BYTES:
            return False
        head = read_head(data[:end])
        if head is None or head.body_bytes > _MAX_BODY_BYTES or self.flow.write_paused:
            return False
        missing = head.body_bytes - (len(data) - end)
        if missing:
            if len(data) > end:
                return False
            # Most clients send head and body in a packet each.
            self._unset_keepalive_if_required()
            self._held, self._held_at = data, came_at
            return True
        application = cast("QuickApplication", self.app)
        reply, self._begun = application.quick(head, data[end:], self.client, came_at)
        if reply is None:
            return False
        self._write(*reply)
        self.server_state.total_requests += 1
        self._replied_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        return True

    def timeout_keep_alive_handler(self) -> None:
        """See HttpToolsProtocol. A quick reply leaves a running timer alone, so it may ring too early."""
        left_s = self._replied_at + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """See HttpToolsProtocol. A request of which only the head is here is one under way."""
        if self._held:
            data, self._held = self._held, b""
            super().data_received(data)
        super().shutdown()

    # -- the ordinary path ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """See HttpToolsProtocol."""
        super().on_message_begin()
        self._between = False
        extensions = self._extensions
        if self._begun is not None:
            extensions = {**extensions, BEGUN: {"call": self._begun}}
            self._begun = None
        self.scope["extensions"] = extensions  # type: ignore[typeddict-item]  # whose values ASGI leaves open

    def on_message_complete(self) -> None:
        """See HttpToolsProtocol."""
        super().on_message_complete()
        self._between = self._takes_quick and not self.parser.should_upgrade()

    def whole_reply(self, scope: Scope, status: int, headers: Iterable[Header], body: bytes) -> bool:
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
        self._write(status, headers, body)
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        cycle.on_response()
        return True

    def _write(self, status: int, headers: Iterable[Header], body: bytes) -> None:
        pieces = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            pieces += (name, b": ", value, b"\r\n")
        for name, value in headers:
            pieces += (name, b": ", value, b"\r\n")
        pieces += (b"\r\n", body)
        self.transport.write(b"".join(pieces))
