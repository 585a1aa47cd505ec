"""Everything that is read with GET: models, health, metrics, OpenAPI, the docs page. Cold, so plain Starlette."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from paceline.base.api import ModelCard, ModelList
from paceline.base.errors import NotFound
from paceline.base.generation import Generator
from paceline.serve.compress import compress, negotiate
from paceline.serve.docs_page import docs_page
from paceline.serve.embeddings import Embedder
from paceline.serve.entrance import Entrance
from paceline.serve.health import Health
from paceline.serve.metrics import CONTENT_TYPE, Metrics
from paceline.serve.openapi import openapi


class Documents:
    """The pages and what they show."""

    def __init__(  # noqa: PLR0913 - the parts that are shown, each given by the application
        self,
        services: Mapping[str, Embedder | Generator],
        entrance: Entrance,
        metrics: Metrics,
        health: Health,
        *,
        admin: Mapping[str, Mapping[str, Any]] | None = None,
        vectors: bool = False,
    ) -> None:
        """`admin` are the schemas of the settings that may change, where there are administration routes.

        `vectors` says whether there are collections of vectors.
        """
        self._services = services
        self._entrance = entrance
        self._metrics = metrics
        self._health = health
        self._admin = admin
        self._vectors = vectors
        self.routes = [
            Route("/", self.landing),
            Route("/v1/models", self.models),
            Route("/v1/models/{model:path}", self.model),
            Route("/health", self.health),
            Route("/health/live", self.live),
            Route("/health/ready", self.ready),
            Route("/metrics", self.metrics),
            Route("/openapi.json", self.openapi),
            Route("/docs", self.docs),
        ]

    async def landing(self, request: Request) -> Response:
        """Where everything is."""
        return await self._page(
            request,
            {
                "name": "paceline",
                "docs": "/docs",
                "openapi": "/openapi.json",
                "models": "/v1/models",
                "health": "/health",
                "metrics": "/metrics",
            },
        )

    async def models(self, request: Request) -> Response:
        """Every model served here."""
        return await self._page(request, ModelList(data=self._cards()))

    async def model(self, request: Request) -> Response:
        """One model; raises NotFound."""
        name = request.path_params["model"]
        if name not in self._services:
            known = ", ".join(map(repr, self._services)) or "none"
            raise NotFound(f"model {name!r} is not served here; there is {known}", param="model")
        return await self._page(request, self._services[name].card())

    async def health(self, request: Request) -> Response:
        """State of every part."""
        return await self._page(request, self._health.report())

    async def live(self, request: Request) -> Response:
        """The event loop turns."""
        return await self._page(request, {"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """200 when new callers are welcome, 503 while starting or draining."""
        ready, state = self._health.ready()
        return await self._page(request, {"status": state}, status=200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Prometheus' scrape."""
        return await self._page(request, self._metrics.page(), CONTENT_TYPE)

    async def openapi(self, request: Request) -> Response:
        """The description of this API."""
        return await self._page(request, self._description)

    async def docs(self, request: Request) -> Response:
        """The same for people."""
        return await self._page(request, docs_page(self._description), "text/html; charset=utf-8")

    @functools.cached_property
    def _description(self) -> dict[str, Any]:
        return openapi(
            self._cards(),
            secured=self._entrance.tokens.required,
            admin=self._admin,
            vectors=self._vectors,
        )

    def _cards(self) -> list[ModelCard]:
        return [service.card() for service in self._services.values()]

    async def _page(
        self, request: Request, content: object, media_type: str = "application/json", *, status: int = 200
    ) -> Response:
        """Reply with bytes as they are, anything else as JSON; compressed if large and the client can."""
        body = content if isinstance(content, bytes) else msgspec.json.encode(content, enc_hook=str)
        headers = {"vary": "accept-encoding"}
        compression = self._entrance.compression
        if compression.enabled and len(body) >= compression.min_bytes:
            accepted = request.headers.get("accept-encoding", "").encode("latin-1")
            algorithm = negotiate(accepted, compression.algorithms)
            if algorithm is not None:
                body = await compress(body, algorithm)
                headers["content-encoding"] = algorithm
        return Response(body, status, headers, media_type)
