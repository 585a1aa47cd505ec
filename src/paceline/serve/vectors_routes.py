"""All routes of vectors, found by path: `VectorRoutes`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from paceline.base.vectors_api import VectorService
from paceline.serve.embeddings import Embedder
from paceline.serve.entrance import Entrance
from paceline.serve.head import Head
from paceline.serve.http_protocol import Reply
from paceline.serve.metrics import Metrics
from paceline.serve.vectors_metrics import VectorMetrics
from paceline.serve.vectors_route import VectorParts, VectorRoute
from paceline.serve.vectors_table import OPERATIONS
from paceline.serve.vectors_texts import Texts

_NAME: Final = "{name}"
_PREFIXES: Final = ("/v1/collections/", "/v1/indexes/")


class Place(msgspec.Struct, frozen=True):
    """A path, perhaps with a name in it, and what each method asks there."""

    path: str
    """`{name}` stands for the collection."""
    routes: dict[str, VectorRoute]

    @property
    def allowed(self) -> str:
        """The methods as an `Allow` value."""
        return ", ".join(sorted({"OPTIONS", *self.routes}))


class VectorRoutes:
    """Belongs to one `Application`."""

    def __init__(
        self,
        vectors: VectorService | None,
        embedders: Mapping[str, Embedder],
        entrance: Entrance,
        metrics: Metrics,
    ) -> None:
        parts = VectorParts(
            vectors, Texts(embedders, metrics), entrance, metrics, VectorMetrics(metrics.registry)
        )
        self._places: dict[str, Place] = {}
        for operation in OPERATIONS:
            for path in operation.paths:
                routes = self._places.setdefault(path, Place(path, {})).routes
                for method in operation.methods:
                    route = VectorRoute(operation, path, parts)
                    routes[method] = route
                    if method == "GET":
                        routes["HEAD"] = route

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places.values())

    def at(self, path: str) -> tuple[Place, str] | None:
        """The place of a path, and the collection that it names, if any."""
        place = self._places.get(path)
        if place is not None:
            return place, ""
        for prefix in _PREFIXES:
            if path.startswith(prefix):
                name, slash, rest = path[len(prefix) :].partition("/")
                place = self._places.get(f"{prefix}{_NAME}{slash}{rest}")
                if place is not None and name:
                    return place, name
        return None

    def quick(
        self, head: Head, body: bytes, client: tuple[str, int] | None, came_at: float
    ) -> tuple[Reply | None, object]:
        """See `http_protocol.QuickApplication`."""
        found = self.at(head.path)
        if found is None:
            return None, None
        place, name = found
        route = place.routes.get("POST")
        if route is None or not route.operation.quick:
            return None, None
        return route.quick(head.headers, body, client, came_at, (head.path, name))
