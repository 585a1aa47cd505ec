"""The ASGI application: hot paths in a dict, everything else matched by Starlette's routes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TypeVar

from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from paceline.base.api import EmbedRequest
from paceline.base.errors import ConfigError, NotFound, PacelineError
from paceline.base.generate_api import ChatRequest, CompletionRequest, InferenceRequest
from paceline.base.generation import Generator
from paceline.base.instruments import Registry
from paceline.base.vectors_api import VectorService
from paceline.flow.limiter import Limiter
from paceline.serve.access_log import AccessLog
from paceline.serve.admin import Admin
from paceline.serve.auth import Tokens
from paceline.serve.call import Call
from paceline.serve.decode import Decoder
from paceline.serve.documents import Documents
from paceline.serve.embeddings import Embedder, EmbedRoute
from paceline.serve.entrance import Entrance
from paceline.serve.generate_decode import Asked, chat_of, completion_of, inference_of
from paceline.serve.generate_encode import ChatForm, CompletionForm, InferenceForm
from paceline.serve.generate_metrics import GenerateMetrics
from paceline.serve.generate_route import FormOf, GenerateRoute
from paceline.serve.head import Head
from paceline.serve.health import Health, Part
from paceline.serve.http_protocol import Reply
from paceline.serve.infer import decode_infer
from paceline.serve.metrics import Metrics, Peers, Stats
from paceline.serve.policy import AuthPolicy, CompressionPolicy, ServePolicy
from paceline.serve.problem import MethodNotAllowed
from paceline.serve.score_route import ScoreRoute
from paceline.serve.vectors_routes import VectorRoutes

log = logging.getLogger("paceline.serve")

_MARK_S = 5.0
"""How finely the last minute of the metrics moves."""

T = TypeVar("T")
Lifespan = Callable[[], AbstractAsyncContextManager[object]]


def _then(
    decoder: Decoder[T], normal: Callable[[T], Asked]
) -> Callable[[bytes, Mapping[bytes, bytes]], Asked]:
    """Decode a body, and bring it to its normal form."""
    return lambda body, headers: normal(decoder.decode(body, headers))


class Application:
    """One process' HTTP side. Give it to an ASGI server that speaks lifespan."""

    def __init__(  # noqa: PLR0913 - the parts of a process, each given by the composition
        self,
        embedders: Iterable[Embedder] = (),
        *,
        generators: Iterable[Generator] = (),
        vectors: VectorService | None = None,
        policy: ServePolicy,
        auth: AuthPolicy,
        compression: CompressionPolicy,
        limiter: Limiter | None = None,
        access_log: AccessLog | None = None,
        registry: Registry | None = None,
        peers: Peers = tuple,
        parts: Mapping[str, Part] | None = None,
        stats: Mapping[str, Stats] | None = None,
        admin: Admin | None = None,
        lifespan: Lifespan = nullcontext,
    ) -> None:
        """`vectors` None: their paths say so. `admin` None: there is no `/admin`. `parts` show in `/health` and `stats` in `/metrics`, by area; `lifespan` is entered before the first call.

        Raises ConfigError for tokens that cannot be, and for two models of one name.
        """
        services = {embedder.name: embedder for embedder in embedders}
        writers = {generator.name: generator for generator in generators}
        for name in services.keys() & writers.keys():
            raise ConfigError(
                f"embed.name and generate.name are both {name!r}; give one of the models another name",
                param="generate.name",
            )
        models: dict[str, Embedder | Generator] = {**services, **writers}
        self.entrance = Entrance(
            tokens=Tokens(auth),
            limiter=limiter,
            policy=policy,
            compression=compression,
            access_log=access_log,
        )
        self.metrics = Metrics(registry or Registry(), peers=peers)
        self._lifespan = lifespan
        for name, service in models.items():
            self.metrics.add_areas(service.stats, model=name)
        stats, parts = dict(stats or {}), dict(parts or {})
        if limiter is not None:
            stats["limiter"], parts["limits"] = limiter.stats, limiter.health
        if vectors is not None:
            self.metrics.add_areas(vectors.stats)
            parts["vectors"] = vectors.health
        for area, read in stats.items():
            self.metrics.add_stats(area, read)
        health = Health(self.entrance, {name: service.health for name, service in models.items()}, parts)
        generating = self._generate_routes(writers)
        self._quick = {
            path: EmbedRoute(path, decode, services, self.entrance, self.metrics, generate)
            for path, decode, generate in (
                ("/v1/embeddings", Decoder(EmbedRequest).decode, None),
                ("/v1/infer", decode_infer, generating["/v1/infer"]),
            )
        }
        self._hot: dict[str, ASGIApp] = {
            **generating,  # but /v1/infer, whose route hands on what is not for it
            **self._quick,
            "/v1/score": ScoreRoute(self.metrics.route("/v1/score"), writers, self.entrance),
        }
        self.vectors = vectors
        self._vectors = VectorRoutes(vectors, services, self.entrance, self.metrics)
        documents = Documents(
            models,
            self.entrance,
            self.metrics,
            health,
            admin=None if admin is None else admin.schemas,
            vectors=vectors is not None,
        )
        self._cold_routes = [*documents.routes, *(admin.routes if admin is not None else ())]

    def _generate_routes(self, generators: Mapping[str, Generator]) -> dict[str, GenerateRoute]:
        """A route for each way to ask for text; that of `/v1/infer` is handed what is no embedding request."""
        inference = Decoder(InferenceRequest)
        ways: dict[str, tuple[Callable[[bytes, Mapping[bytes, bytes]], Asked], FormOf]] = {
            "/v1/completions": (_then(Decoder(CompletionRequest), completion_of), CompletionForm),
            "/v1/chat/completions": (_then(Decoder(ChatRequest), chat_of), ChatForm),
            "/v1/inference": (_then(inference, inference_of), InferenceForm),
            "/v1/infer": (_then(inference, inference_of), InferenceForm),
        }
        metrics = GenerateMetrics(self.metrics)
        return {
            path: GenerateRoute(self.metrics.route(path), decode, form, generators, self.entrance, metrics)
            for path, (decode, form) in ways.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the life span of the process."""
        kind = scope["type"]
        if kind == "http":
            path, method = scope["path"], scope["method"]
            hot = self._hot.get(path)
            found = self._vectors.at(path) if hot is None else None
            if hot is not None and method == "POST":
                await hot(scope, receive, send)
            elif found is not None and method in found[0].routes:
                place, name = found
                await place.routes[method].answer(scope, receive, send, name)
            else:
                await self._cold(scope, receive, send)
        elif kind == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000, "reason": "no web sockets here"})

    def quick(
        self, head: Head, body: bytes, client: tuple[str, int] | None, came_at: float
    ) -> tuple[Reply | None, object]:
        """See `http_protocol.QuickApplication`."""
        if self.entrance.draining:
            return None, None
        route = self._quick.get(head.path)
        if route is None:
            return self._vectors.quick(head, body, client, came_at)
        return route.quick(head.headers, body, client, came_at)

    def drain(self) -> None:
        """Say good-bye: not ready any more, and every reply closes its connection. Open calls are still answered."""
        self.entrance.draining = True

    # -- cold paths -------------------------------------------------------------------------------------------

    async def _cold(self, scope: Scope, receive: Receive, send: Send) -> None:
        route, allowed, path = self._match(scope)
        call = Call.of(self.entrance, self.metrics.route(path), scope, send)
        try:
            await self._read(call, route, allowed, scope, receive)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever happened, the caller gets a problem
            await call.fail(error)

    async def _read(
        self, call: Call, route: Route | None, allowed: str, scope: Scope, receive: Receive
    ) -> None:
        method, path = scope["method"], scope["path"]
        if not allowed:
            raise NotFound(f"there is no {path!r} here; /docs lists what there is")
        if method == "OPTIONS":
            await call.reply(200, b"", (b"allow", allowed.encode()))
        elif route is None or method not in (route.methods or ()):
            raise MethodNotAllowed(f"{path} does not take {method}; it takes {allowed}", allowed=allowed)
        else:
            if path.startswith("/v1/"):
                await call.admit()
            await route.handle(scope, receive, call.send)

    def _match(self, scope: Scope) -> tuple[Route | None, str, str]:
        """The route of this path whatever the method, the methods it takes as an `Allow` value, and its name in metrics."""
        path = scope["path"]
        if path in self._hot:
            return None, "OPTIONS, POST", path
        found = self._vectors.at(path)
        if found is not None:
            return None, found[0].allowed, found[0].path
        for route in self._cold_routes:
            match, child = route.matches(scope)
            if match is not Match.NONE:
                scope.update(child)
                return route, ", ".join(sorted({"OPTIONS", *(route.methods or ())})), route.path
        # Paths that do not exist share one name: metrics must not grow with what strangers try.
        return None, "", "other"

    # -- life -------------------------------------------------------------------------------------------------

    async def _live(self, receive: Receive, send: Send) -> None:
        """The ASGI lifespan protocol around `self.lifespan`."""
        await receive()
        running = False
        try:
            async with self.life():
                running = True
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as error:
            if isinstance(error, PacelineError):
                log.error("%s", error)  # noqa: TRY400 - a setting at fault needs no traceback
            else:
                log.exception("the server could not %s", "stop cleanly" if running else "start")
            await send(
                {"type": f"lifespan.{'shutdown' if running else 'startup'}.failed", "message": str(error)}
            )
        else:
            await send({"type": "lifespan.shutdown.complete"})

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """Started inside, draining at the end; for servers and tests that do not speak lifespan."""
        async with self._lifespan():
            marking = asyncio.ensure_future(self._mark())
            self.entrance.started = True
            try:
                yield
            finally:
                self.drain()
                marking.cancel()

    async def _mark(self) -> None:
        while True:
            await asyncio.sleep(_MARK_S)
            self.metrics.registry.mark()
