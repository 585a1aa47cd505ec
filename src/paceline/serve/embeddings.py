"""`POST /v1/embeddings`: the whole path of a request in one function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from starlette.types import Receive, Scope, Send

from paceline.base.api import EmbedRequest, ModelCard
from paceline.base.errors import NotFound
from paceline.base.timings import Timings
from paceline.embed.result import EmbedResult
from paceline.serve.call import JSON, Call, Header
from paceline.serve.compress import compress, negotiate
from paceline.serve.decode import MSGPACK_TYPES, read_body
from paceline.serve.departure import unless_left
from paceline.serve.encode import TURN_TEXTS, embed_reply, embed_reply_in_turns, embed_reply_msgpack
from paceline.serve.entrance import Entrance
from paceline.serve.metrics import Metrics

_MSGPACK = (b"content-type", MSGPACK_TYPES[0])
_VARY = (b"vary", b"accept, accept-encoding")
_TIER: dict[str, Header] = {
    tier: (b"x-paceline-cache", tier.encode()) for tier in ("miss", "l1", "l2", "l3", "flight", "bypass")
}


class Embedder(Protocol):
    """What the route needs of the embedding service."""

    name: str

    def hit(self, request: EmbedRequest) -> EmbedResult | None:
        """The answer when it is in memory, at once."""

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

    def __init__(
        self,
        path: str,
        decode: Callable[[bytes, Mapping[bytes, bytes]], EmbedRequest],
        services: Mapping[str, Embedder],
        entrance: Entrance,
        metrics: Metrics,
    ) -> None:
        self._decode = decode
        self._services = services
        self._default = next(iter(services.values()), None)
        self._entrance = entrance
        self._metrics = metrics
        self._route = metrics.route(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authorise -> rate limit -> read and decode -> memory -> service -> encode."""
        entrance = self._entrance
        call = Call(entrance, self._route, scope, send)
        try:
            await call.admit()
            deadline_at = call.deadline_at()
            body = await read_body(receive, call.headers, entrance.policy.max_body_bytes)
            request = self._decode(body, call.headers)
            service = self._service(request.model)
            result = service.hit(request)
            if result is None:
                result = await unless_left(receive, service.embed(request, deadline_at=deadline_at))
            self._metrics.embedded(result)
            await self._answer(call, request, result)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever happened, the caller gets a problem
            await call.fail(error)

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
        timings = result.timings
        accept = call.headers.get(b"accept")
        if accept is not None and b"msgpack" in accept:
            body, content_type = embed_reply_msgpack(result), _MSGPACK
        elif len(result.vectors) <= TURN_TEXTS:
            body, content_type = embed_reply(result, request.encoding_format), JSON
        else:
            body, content_type = await embed_reply_in_turns(result, request.encoding_format), JSON
        headers = [content_type, _TIER[timings.cache], _server_timing(timings)]
        compression = self._entrance.compression
        # Only digits shrink well (to 0.4); base64 and MessagePack floats would save a quarter for milliseconds of work.
        if (
            len(body) >= compression.min_bytes
            and compression.enabled
            and content_type is JSON
            and request.encoding_format == "float"
        ):
            headers.append(_VARY)
            algorithm = negotiate(call.headers.get(b"accept-encoding", b""), compression.algorithms)
            if algorithm is not None:
                body = await compress(body, algorithm)
                headers.append((b"content-encoding", algorithm.encode()))
        await call.reply(200, body, *headers)


def _server_timing(timings: Timings) -> Header:
    if timings.cache == "l1":
        return (b"server-timing", b'cache;desc="l1", total;dur=%.3f' % (timings.total_s * 1e3))
    return (b"server-timing", timings.server_timing().encode())
