"""`POST /v1/embeddings`: the whole path of a request in one function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from starlette.types import Receive, Scope, Send

from paceline.base.api import EmbedRequest, ModelCard
from paceline.base.errors import NotFound, Rejected
from paceline.base.timings import Timings
from paceline.embed.result import EmbedResult
from paceline.serve.call import JSON, MSGPACK, TIER, Call, Told
from paceline.serve.compress import compress, negotiate
from paceline.serve.decode import check_size, read_body
from paceline.serve.departure import unless_left
from paceline.serve.encode import TURN_TEXTS, embed_reply, embed_reply_in_turns, embed_reply_msgpack
from paceline.serve.entrance import Entrance
from paceline.serve.generate_decode import Asked
from paceline.serve.generate_route import GenerateRoute
from paceline.serve.http_protocol import Header, Reply
from paceline.serve.metrics import Metrics

_VARY = (b"vary", b"accept, accept-encoding")

Found: TypeAlias = tuple[EmbedRequest, EmbedResult | None] | tuple[Asked, None]


class Embedder(Protocol):
    """What the route needs of the embedding service."""

    name: str

    def hit(self, request: EmbedRequest) -> EmbedResult | None:
        """The answer when it is in memory, at once."""

    def check(self, request: EmbedRequest, *, deadline_at: float) -> None:
        """Raise Rejected when `embed` certainly would, at once."""

    async def embed(self, request: EmbedRequest, *, deadline_at: float) -> EmbedResult:
        """The answer, computed if need be; `deadline_at` is an instant of `time.monotonic`."""

    def card(self) -> ModelCard:
        """The entry of `/v1/models`."""

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """Counters by area."""

    def health(self) -> Mapping[str, object]:
        """State, for `/health`; `status` is `ok`, `failing` or `starting`."""


class EmbedRoute:
    """An ASGI application for one path whose bodies `decode` turns into an EmbedRequest."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a route, each given by the application
        self,
        path: str,
        decode: Callable[[bytes, Mapping[bytes, bytes]], EmbedRequest | Asked],
        services: Mapping[str, Embedder],
        entrance: Entrance,
        metrics: Metrics,
        generate: GenerateRoute | None = None,
    ) -> None:
        """`generate` answers what `decode` finds to be no embedding request; needed if it finds such."""
        self._decode = decode
        self._services = services
        self._default = next(iter(services.values()), None)
        self._entrance = entrance
        self._metrics = metrics
        self._route = metrics.route(path)
        self._generate = generate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authorise -> rate limit -> read and decode -> memory -> service -> encode."""
        entrance = self._entrance
        call = Call.of(entrance, self._route, scope, send)
        try:
            await call.admit()
            deadline_at = call.deadline_at()
            body = await read_body(receive, call.headers, entrance.policy.max_body_bytes)
            request, result = call.found or self._find(body, call)
            if isinstance(request, Asked):
                assert self._generate is not None
                await self._generate.answer(call, request, receive)
                return
            if result is None:
                service = self._service(request.model)
                result = await unless_left(receive, service.embed(request, deadline_at=deadline_at))
            self._count(call, result)
            await self._answer(call, request, result)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever happened, the caller gets a problem
            await call.fail(error)

    def quick(
        self, headers: Mapping[bytes, bytes], body: bytes, client: tuple[str, int] | None, came_at: float
    ) -> tuple[Reply | None, Call | None]:
        """The same path without a stop: authorise -> rate limit -> decode -> memory -> refuse or encode.

        Without a reply, `__call__` goes on with the call and repeats nothing that counts; other problems than
        refusals are told there too.
        """
        call = Call(self._entrance, self._route, headers, client, came_at)
        try:
            if not call.admit_nowait():
                return None, call
            deadline_at = call.deadline_at()
            check_size(len(body), self._entrance.policy.max_body_bytes)
            request, result = call.found = self._find(body, call)
            if isinstance(request, Asked):
                return None, call
            if result is None:
                self._service(request.model).check(request, deadline_at=deadline_at)
                return None, call
            if len(result.vectors) > TURN_TEXTS:
                return None, call
            content, content_type = _encoded(call, request, result)
            told, algorithm = self._told(call, request, result, content, content_type)
            if algorithm is not None:
                return None, call
            self._count(call, result)
            return (200, call.whole_headers(200, content, told), content), None
        except Rejected as error:  # under overload this is most of what is said, so it is said at once
            status, content, told = call.problem(error)
            return (status, call.whole_headers(status, content, told), content), None
        except Exception as error:  # noqa: BLE001 - whatever it is, `admit` raises it again and the caller is told
            call.failure = error
            return None, call

    def _find(self, body: bytes, call: Call) -> Found:
        """What a body asks, and the answer if it is in memory."""
        request = self._decode(body, call.headers)
        if isinstance(request, Asked):
            return request, None
        if (
            self._entrance.access_log is not None
        ):  # nobody else reads it, and a hit is a matter of microseconds
            call.told = Told(request.priority)
        return request, self._service(request.model).hit(request)

    def _count(self, call: Call, result: EmbedResult) -> None:
        self._metrics.embedded(result)
        told = call.told
        if told is not None:
            told.prompt_tokens = result.tokens
            told.rows = len(result.vectors)
            told.tier = result.timings.cache

    def _service(self, model: str | None) -> Embedder:
        service = self._default if model is None else self._services.get(model)
        if service is None:
            known = ", ".join(map(repr, self._services)) or "none: embedding is off (embed.model)"
            raise NotFound(
                f"model {model!r} is not served here; there is {known} (see /v1/models)", param="model"
            )
        return service

    async def _answer(self, call: Call, request: EmbedRequest, result: EmbedResult) -> None:
        """Encode as the caller asked, compress what is large and compresses, and reply."""
        if len(result.vectors) <= TURN_TEXTS or call.wants_msgpack:
            body, content_type = _encoded(call, request, result)
        else:
            body, content_type = await embed_reply_in_turns(result, request.encoding_format), JSON
        headers, algorithm = self._told(call, request, result, body, content_type)
        if algorithm is not None:
            body = await compress(body, algorithm)
            headers.append((b"content-encoding", algorithm.encode()))
        await call.reply(200, body, *headers)

    def _told(
        self, call: Call, request: EmbedRequest, result: EmbedResult, body: bytes, content_type: Header
    ) -> tuple[list[Header], str | None]:
        """The headers of an answer, and the algorithm to compress its body with."""
        headers = [content_type, TIER[result.timings.cache], _server_timing(result.timings)]
        compression = self._entrance.compression
        # Only digits shrink well (to 0.4); base64 and MessagePack floats would save a quarter for milliseconds of work.
        if (
            len(body) < compression.min_bytes
            or not compression.enabled
            or content_type is not JSON
            or request.encoding_format != "float"
        ):
            return headers, None
        headers.append(_VARY)
        return headers, negotiate(call.headers.get(b"accept-encoding", b""), compression.algorithms)


def _encoded(call: Call, request: EmbedRequest, result: EmbedResult) -> tuple[bytes, Header]:
    """The body in one go, and its content type."""
    if call.wants_msgpack:
        return embed_reply_msgpack(result), MSGPACK
    return embed_reply(result, request.encoding_format), JSON


def _server_timing(timings: Timings) -> Header:
    if timings.cache == "l1":
        return (b"server-timing", b'cache;desc="l1", total;dur=%.3f' % (timings.total_s * 1e3))
    return (b"server-timing", timings.server_timing().encode())
