"""Qdrant's REST interface over the local mode of its own client: requests are checked by the client's models.

No server of Qdrant can be had from a package index or from Debian, so this is what stands for one in the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import orjson
import uvicorn
from qdrant_client import QdrantClient, models
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

API_KEY = "only-for-tests"


class QdrantServer:
    """Answers what the adapter asks, as Qdrant's documentation says."""

    def __init__(self) -> None:
        self.client = QdrantClient(":memory:")
        self.bodies: list[tuple[str, Any]] = []
        self.refusals: list[tuple[int, str]] = []
        """Answers that are given instead of the next ones."""
        self._wishes: dict[str, models.CreateCollection] = {}

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        method, parts = request.method, request.url.path.strip("/").split("/")
        self.bodies.append((request.url.path, orjson.loads(body) if body else None))
        if self.refusals:
            status, reason = self.refusals.pop(0)
            return _reply({"status": {"error": reason}}, status)
        if request.headers.get("api-key") != API_KEY:
            return _reply({"status": {"error": "Must provide an API key"}}, 401)
        name = parts[1] if len(parts) > 1 else ""
        if name and method != "PUT" and not self.client.collection_exists(name):
            return _reply({"status": {"error": f"Collection `{name}` doesn't exist!"}}, 404)
        try:
            result = self._result(method, name, "/".join(parts[2:]), body)
        except ValueError as error:  # pydantic's too
            return _reply({"status": {"error": str(error)}}, 400)
        return _reply({"result": result, "status": "ok", "time": 0.0})

    def _result(self, method: str, name: str, what: str, body: bytes) -> Any:  # noqa: C901, PLR0912 - routes
        client = self.client
        match method, what:
            case "GET", "":
                return self._described(name) if name else _plain(client.get_collections())
            case "PUT", "":
                wish = models.CreateCollection.model_validate_json(body)
                self._wishes[name] = wish
                return client.create_collection(name, vectors_config=wish.vectors)
            case "DELETE", "":
                return client.delete_collection(name)
            case "PUT", "index":
                models.CreateFieldIndex.model_validate_json(body)
            case "PUT", "points":
                client.upsert(name, models.PointsList.model_validate_json(body).points)
            case "POST", "points":
                ask = models.PointRequest.model_validate_json(body)
                return _plain(
                    client.retrieve(
                        name, ask.ids, with_payload=ask.with_payload, with_vectors=ask.with_vector
                    )
                )
            case "POST", "points/delete":
                selector = orjson.loads(body)
                kind = models.FilterSelector if "filter" in selector else models.PointIdsList
                client.delete(name, kind.model_validate(selector))
            case "POST", "points/batch":
                client.batch_update_points(name, models.UpdateOperations.model_validate_json(body).operations)
            case "POST", "points/count":
                ask = models.CountRequest.model_validate_json(body)
                return _plain(client.count(name, ask.filter, exact=ask.exact))
            case "POST", "points/scroll":
                ask = models.ScrollRequest.model_validate_json(body)
                points, following = client.scroll(
                    name, ask.filter, limit=ask.limit, offset=ask.offset, with_payload=ask.with_payload
                )
                return {"points": _plain(points), "next_page_offset": following}
            case "POST", "points/query":
                ask = models.QueryRequest.model_validate_json(
                    body
                )  # its params have no effect on brute force
                return _plain(
                    client.query_points(
                        name, ask.query, query_filter=ask.filter, limit=ask.limit,
                        with_payload=ask.with_payload, with_vectors=ask.with_vector,
                    )
                )  # fmt: skip
            case "POST", "facet":
                ask = models.FacetRequest.model_validate_json(body)
                return _plain(client.facet(name, ask.key, ask.filter, limit=ask.limit, exact=ask.exact))
            case _:
                raise AssertionError(f"the adapter asks {method} {what!r}, which is no route of the tests")
        return {"operation_id": 0, "status": "completed"}

    def _described(self, name: str) -> Any:
        """The local mode forgets what it has no use for; a server tells it again."""
        described, wish = _plain(self.client.get_collection(name)), self._wishes.get(name)
        if wish is not None:
            described["config"]["params"]["shard_number"] = wish.shard_number
            if wish.quantization_config is not None:
                described["config"]["quantization_config"] = _plain(wish.quantization_config)
        return described


def _plain(model: Any) -> Any:
    if isinstance(model, list):
        return [_plain(one) for one in model]
    return model.model_dump(mode="json", exclude_none=True)


def _reply(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, {"retry-after": "0"}, media_type="application/json")


@contextlib.asynccontextmanager
async def qdrant_server() -> AsyncIterator[tuple[str, QdrantServer]]:
    """Its address and itself, on the running event loop while the block runs."""
    answering = QdrantServer()
    routes = [Route("/{path:path}", answering.answer, methods=["GET", "PUT", "POST", "DELETE"])]
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=routes), log_level="error", lifespan="off", ws="none")
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve([listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", answering
        finally:
            server.should_exit = True
            await serving
