"""The ASGI application: hot paths in a dict, everything else matched by Starlette's routes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from paceline.base.api import EmbedRequest
from paceline.base.errors import NotFound, PacelineError
from paceline.base.instruments import Registry
from paceline.flow.limiter import Limiter
from paceline.serve.access_log import AccessLog
from paceline.serve.admin import Admin
from paceline.serve.auth import Tokens
from paceline.serve.call import Call
from paceline.serve.decode import Decoder
from paceline.serve.documents import Documents
from paceline.serve.embeddings import Embedder, EmbedRoute
from paceline.serve.entrance import Entrance
from paceline.serve.head import Head
from paceline.serve.health import Health, Part
from paceline.serve.http_protocol import Reply
from paceline.serve.infer import decode_infer
from paceline.serve.metrics import Metrics, Peers, Stats
from paceline.serve.policy import AuthPolicy, CompressionPolicy, ServePolicy
from paceline.serve.problem import MethodNotAllowed

log = logging.getLogger("paceline.serve")

_MARK_S = 5.0
"""How finely the last minute of the metrics moves."""

Lifespan = Callable[[], AbstractAsyncContextManager[object]]


class Application:
    """One process' HTTP side. Give it to an ASGI server that speaks lifespan."""

    def __init__(  # noqa: PLR0913 - the parts of a process, each given by the composition
        self,
        embedders: Iterable[Embedder] = (),
        *,
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
        """`admin` None: there is no `/admin`. `parts` show in `/health` and `stats` in `/metrics`, by area; `lifespan` is entered before the first call.

        Raises ConfigError for tokens that cannot be.
        """
        services = {embedder.name: embedder for embedder in embedders}
        self.entrance = Entrance(
            tokens=Tokens(auth),
            limiter=limiter,
            policy=policy,
            compression=compression,
            access_log=access_log,
        )
        self.metrics = Metrics(registry or Registry(), peers=peers)
        self._lifespan = lifespan
        for name, service in services.items():
            self.metrics.add_areas(service.stats, model=name)
        stats, parts = dict(stats or {}), dict(parts or {})
        if limiter is not None:
            stats["limiter"], parts["limits"] = limiter.stats, limiter.health
        for area, read in stats.items():
            self.metrics.add_stats(area, read)
        health = Health(self.entrance, {name: service.health for name, service in services.items()}, parts)
        embed = Decoder(EmbedRequest).decode
        self._hot = {
            path: EmbedRoute(path, decode, services, self.entrance, self.metrics)
            for path, decode in (("/v1/embeddings", embed), ("/v1/infer", decode_infer))
        }
        documents = Documents(
            services, self.entrance, self.metrics, health, admin=None if admin is None else admin.schemas
        )
        self._cold_routes = [*documents.routes, *(admin.routes if admin is not None else ())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the life span of the process."""
        kind = scope["type"]
        if kind == "http":
            hot = self._hot.get(scope["path"])
            if hot is not None and scope["method"] == "POST":
                await hot(scope, receive, send)
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
        hot = self._hot.get(head.path)
        if hot is None or self.entrance.draining:
            return None, None
        return hot.quick(head.headers, body, client, came_at)

    def drain(self) -> None:
        """Say good-bye: not ready any more, and every reply closes its connection. Open calls are still answered."""
        self.entrance.draining = True

    # -- cold paths -------------------------------------------------------------------------------------------

    async def _cold(self, scope: Scope, receive: Receive, send: Send) -> None:
        route, allowed = self._match(scope)
        # Paths that do not exist share one name: metrics must not grow with what strangers try.
        path = route.path if route else scope["path"] if allowed else "other"
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

    def _match(self, scope: Scope) -> tuple[Route | None, str]:
        """The route of this path whatever the method, and the methods it takes as an `Allow` value."""
        if scope["path"] in self._hot:
            return None, "OPTIONS, POST"
        for route in self._cold_routes:
            match, child = route.matches(scope)
            if match is not Match.NONE:
                scope.update(child)
                return route, ", ".join(sorted({"OPTIONS", *(route.methods or ())}))
        return None, ""

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
