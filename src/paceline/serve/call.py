"""One HTTP exchange: its headers, who sent it, until when, and how its reply leaves."""

from __future__ import annotations

import itertools
import logging
import math
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from starlette.types import Message, Scope, Send

from paceline.base.api import Priority
from paceline.base.errors import DeadlineExceeded, InvalidRequest, PacelineError, Rejected
from paceline.base.timings import Tier
from paceline.flow.limiter import Verdict
from paceline.serve.access_log import MAX_PATH, Line
from paceline.serve.decode import MSGPACK_TYPES, CallerLeft
from paceline.serve.entrance import Entrance
from paceline.serve.http_protocol import BEGUN, EXTENSION, Header
from paceline.serve.metrics import RouteMetrics
from paceline.serve.problem import CLIENT_LEFT, MethodNotAllowed, problem_body, status_of
from paceline.serve.sse import failure

log = logging.getLogger("paceline.serve")

JSON = (b"content-type", b"application/json")
MSGPACK = (b"content-type", MSGPACK_TYPES[0])
PROBLEM = (b"content-type", b"application/problem+json")
TIER: dict[str, Header] = {
    tier: (b"x-paceline-cache", tier.encode()) for tier in ("miss", "l1", "l2", "l3", "flight", "bypass")
}
_CLOSE = (b"connection", b"close")
_CHALLENGE = (b"www-authenticate", b'Bearer realm="paceline"')

_sane_id = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}").fullmatch
_process = secrets.token_hex(6).encode()
_serial = itertools.count(1).__next__

_NONE: dict[str, None] = {}

MAX_TIMEOUT_MS = 86_400_000


class Told(msgspec.Struct, gc=False):
    """What the access log says of one call beyond its reply. Filled as it becomes known."""

    priority: Priority | None = None
    rows: int | None = None
    prompt_tokens: int | None = None
    tier: Tier | None = None
    completion_tokens: int | None = None
    ttft_s: float | None = None


class Call:
    """Made when the head of a request has come, gone when its reply has left."""

    __slots__ = (
        "_caller",
        "_entrance",
        "_route",
        "_scope",
        "_send",
        "_streaming",
        "_verdict",
        "failure",
        "found",
        "headers",
        "path",
        "replied",
        "request_id",
        "started_at",
        "told",
    )

    _scope: Scope
    _send: Send

    def __init__(
        self,
        entrance: Entrance,
        route: RouteMetrics,
        headers: Mapping[bytes, bytes],
        client: tuple[str, int] | None,
        started_at: float,
    ) -> None:
        """Until `attach`, a call can be admitted and know its reply, but not send it."""
        self.started_at = started_at
        self._entrance = entrance
        self._route = route
        self._caller = client[0] if client else "local"
        self._verdict: Verdict | None = None
        self.found: tuple[Any, Any] | None = None
        """What the body asks, and the answer if the quick path knew it: left there for the route to go on with."""
        self.told: Told | None = None
        self.failure: Exception | None = None
        """The problem the quick path ran into; `admit` raises it again."""
        self.replied = False
        self._streaming = False
        self.headers = headers
        self.path = route.path
        """As the access log tells it."""
        given = headers.get(b"x-request-id")
        self.request_id = given if given is not None and _sane_id(given) else b"%b-%x" % (_process, _serial())

    @classmethod
    def of(cls, entrance: Entrance, route: RouteMetrics, scope: Scope, send: Send) -> Call:
        """The call of an ASGI scope: the one the quick path has begun, or a new one."""
        begun = scope.get("extensions", _NONE).get(BEGUN)
        if begun is not None:
            call: Call = begun["call"]
        else:
            call = cls(entrance, route, dict(scope["headers"]), scope.get("client"), time.monotonic())
        call._scope, call._send, call.path = scope, send, scope["path"]
        return call

    # -- coming in --------------------------------------------------------------------------------------------

    async def admit(self) -> None:
        """Authorise the caller, then count the call against its limits; raises Unauthorised or RateLimited.

        A call the quick path has begun fails here if it failed there.
        """
        if self.failure is not None:
            raise self.failure
        if not self.admit_nowait():
            name, limiter = self._authorise(), self._entrance.limiter
            assert limiter is not None
            self._judge(await limiter.take(name or self._caller, self._route.path, name or None))

    def admit_nowait(self) -> bool:
        """The same, once however often it is called; False when a lease must be fetched first: await `admit`."""
        name, limiter = self._authorise(), self._entrance.limiter
        verdict = self._verdict
        if verdict is None:
            if limiter is None:
                return True
            verdict = limiter.take_nowait(name or self._caller, self._route.path, name or None)
            if verdict is None:
                return False
        self._judge(verdict)
        return True

    def _authorise(self) -> str:
        header = self.headers.get(b"authorization")
        if header is None and b"api-key" in self.headers:
            header = b"Bearer " + self.headers[b"api-key"]  # how Pinecone's clients send it
        return self._entrance.tokens.authorise(header)

    def _judge(self, verdict: Verdict) -> None:
        self._verdict = verdict
        if not verdict.allowed:
            raise verdict.refusal()

    def deadline_at(self, timeout_s: float | None = None) -> float:
        """When the caller's patience ends (`time.monotonic` seconds); raises InvalidRequest, DeadlineExceeded.

        `timeout_s` is the patience of a caller that does not say; None takes `serve.timeout_s`.
        """
        header = self.headers.get(b"x-request-timeout-ms")
        if header is None:
            return self.started_at + (self._entrance.policy.timeout_s if timeout_s is None else timeout_s)
        try:
            timeout_ms = float(header)
        except ValueError:
            timeout_ms = math.nan
        if not timeout_ms <= MAX_TIMEOUT_MS:
            raise InvalidRequest(
                f"x-request-timeout-ms is {header.decode('latin-1')!r}; send milliseconds, {MAX_TIMEOUT_MS} (a day) at most",
                param="x-request-timeout-ms",
            )
        if timeout_ms <= 0:
            raise DeadlineExceeded(
                f"x-request-timeout-ms is {timeout_ms:g}: the deadline has passed already; send a larger one",
                param="x-request-timeout-ms",
            )
        return self.started_at + timeout_ms / 1e3

    @property
    def wants_msgpack(self) -> bool:
        """Whether the caller accepts MessagePack; JSON otherwise."""
        return b"msgpack" in self.headers.get(b"accept", b"")

    # -- going out --------------------------------------------------------------------------------------------

    async def reply(self, status: int, body: bytes, *headers: Header) -> None:
        """Send the reply and count it. The last thing a call does."""
        out = self.whole_headers(status, body, headers)
        whole = self._scope.get("extensions", _NONE).get(EXTENSION)
        if whole is None or self._entrance.draining or not whole["reply"](self._scope, status, out, body):
            await self._send({"type": "http.response.start", "status": status, "headers": out})
            await self._send({"type": "http.response.body", "body": body})

    def whole_headers(self, status: int, body: bytes, headers: Iterable[Header]) -> list[Header]:
        """All headers of a reply that is known as a whole; counts it, for now it leaves."""
        self.replied = True
        self._count(status)
        out = self.reply_headers()
        out += headers
        out.append((b"content-length", b"%d" % len(body)))
        return out

    async def begin(self, *headers: Header) -> None:
        """Begin a reply that comes in pieces. It is counted when it ends, as what it was then."""
        self.replied = self._streaming = True
        out = self.reply_headers()
        out += headers
        await self._send({"type": "http.response.start", "status": 200, "headers": out})

    async def more(self, piece: bytes) -> None:
        """Send a piece; waits while the caller's connection is full."""
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self, piece: bytes, status: int = 200) -> None:
        """Send the last piece and count the reply as `status`."""
        self._streaming = False
        self._count(status)
        await self._send({"type": "http.response.body", "body": piece})

    async def send(self, message: Message) -> None:
        """ASGI's `send` for applications that reply themselves: adds our headers and counts the reply."""
        if message["type"] == "http.response.start":
            self.replied = True
            message["headers"] = [*message["headers"], *self.reply_headers()]
            self._count(message["status"])
        await self._send(message)

    def _count(self, status: int) -> None:
        seconds = time.monotonic() - self.started_at
        self._route.count(status, seconds)
        if self._entrance.access_log is not None:
            self._entrance.access_log.add(self._line(status, seconds))

    def _line(self, status: int, seconds: float) -> Line:
        scope = getattr(self, "_scope", None)  # the quick path has none: it takes POSTs of its own paths only
        told = self.told
        return Line(
            at=round(time.time() - seconds, 6),
            method=scope["method"] if scope else "POST",
            path=self.path[:MAX_PATH],
            status=status,
            duration_ms=round(seconds * 1e3, 3),
            request_id=self.request_id.decode(),
            prompt_tokens=told.prompt_tokens if told else None,
            completion_tokens=told.completion_tokens if told else None,
            ttft_ms=None if told is None or told.ttft_s is None else round(told.ttft_s * 1e3, 3),
            rows=told.rows if told else None,
            priority=told.priority if told else None,
            tier=told.tier if told else None,
        )

    def reply_headers(self) -> list[Header]:
        """Headers of every reply, whatever it says: request id, limits, and good-bye while draining."""
        out = [(b"x-request-id", self.request_id)]
        verdict = self._verdict
        if verdict is not None and verdict.limit:
            out.append((b"x-ratelimit-limit-requests", b"%d" % verdict.limit))
            out.append((b"x-ratelimit-remaining-requests", b"%d" % verdict.remaining))
            out.append((b"x-ratelimit-reset-requests", b"%.3fs" % verdict.reset_s))
        if self._entrance.draining:
            out.append(_CLOSE)
        return out

    async def fail(self, error: Exception) -> None:
        """Reply with the problem that `error` is; unexpected ones are ours, and are logged with a traceback.

        A stream that has begun ends with an event that tells it.
        """
        if isinstance(error, CallerLeft):
            self._count(CLIENT_LEFT)
            return
        if not isinstance(error, PacelineError):
            log.error("request %s failed", self.request_id.decode(), exc_info=error)
            error = PacelineError(
                "the server failed in a way nobody foresaw; its log has the traceback under this request id"
            )
        if not self.replied:
            status, body, headers = self.problem(error)
            await self.reply(status, body, *headers)
        elif self._streaming:
            await self.end(failure(error, self.request_id.decode()), status_of(error))

    def problem(self, error: PacelineError) -> tuple[int, bytes, list[Header]]:
        """Status, body and headers of the reply that says `error`."""
        status = status_of(error)
        extra = [PROBLEM]
        if isinstance(error, Rejected):
            extra.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
        elif isinstance(error, MethodNotAllowed):
            extra.append((b"allow", error.allowed.encode()))
        elif status == 401:
            extra.append(_CHALLENGE)
        return status, problem_body(error, self.request_id.decode()), extra
