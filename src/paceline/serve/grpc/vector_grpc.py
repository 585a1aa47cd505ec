"""The gRPC service of vectors: the way of a call in one function, and the server that listens."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import msgspec
from google.protobuf.message import DecodeError
from grpc.aio import ServicerContext

from paceline.base.errors import ConfigError, InvalidRequest, Overloaded, PacelineError
from paceline.base.vectors_api import VectorService
from paceline.base.vectors_records import Query
from paceline.serve.access_log import Line
from paceline.serve.call import Call
from paceline.serve.entrance import Entrance
from paceline.serve.grpc import messages
from paceline.serve.grpc import vector_service_pb2 as pb
from paceline.serve.grpc.status import details_of, status_of, trailing_of
from paceline.serve.metrics import Metrics, RouteMetrics
from paceline.serve.problem import CLIENT_LEFT
from paceline.serve.problem import status_of as http_status_of

log = logging.getLogger("paceline.serve")

SERVICE: Final = "VectorService"
COLLECTION_KEY: Final = "collection"
_FOREVER_S: Final = 1e9
"""More time than this left means that the caller set no deadline."""


class Method(msgspec.Struct, frozen=True):
    """One call of the service: its messages, and how they become ours and back."""

    request: type[Any]
    asked: Callable[[Any, str], Any]
    answered: Callable[[Any], Any]


METHODS: Final = {
    "Upsert": Method(pb.UpsertRequest, messages.upsert_of, messages.upserted),
    "Update": Method(pb.UpdateRequest, messages.update_of, messages.updated),
    "Delete": Method(pb.DeleteRequest, messages.delete_of, messages.deleted),
    "Fetch": Method(pb.FetchRequest, messages.fetch_of, messages.fetched),
    "List": Method(pb.ListRequest, messages.list_of, messages.listed),
    "Query": Method(pb.QueryRequest, messages.query_of, messages.queried),
    "DescribeIndexStats": Method(pb.DescribeIndexStatsRequest, messages.describe_of, messages.described),
}


class VectorGrpc:
    """Answers the calls of one process."""

    def __init__(self, vectors: VectorService, entrance: Entrance, metrics: Metrics) -> None:
        """Callers, limits and the access log are those of HTTP; a route of the metrics is /VectorService/CALL."""
        self._vectors = vectors
        self._entrance = entrance
        self._metrics = metrics

    def handler(self) -> grpc.GenericRpcHandler:
        """What a gRPC server is given."""
        return grpc.method_handlers_generic_handler(
            SERVICE, {name: self._method(name, method) for name, method in METHODS.items()}
        )

    def _method(self, name: str, method: Method) -> grpc.RpcMethodHandler:
        route = self._metrics.route(f"/{SERVICE}/{name}")

        async def serve(request: bytes, context: ServicerContext[Any, Any]) -> Any:
            return await self._serve(method, route, request, context)

        # Messages are read by `serve`, so that one that is none is refused as any other mistake.
        return grpc.unary_unary_rpc_method_handler(
            serve, response_serializer=lambda message: message.SerializeToString()
        )

    async def _serve(
        self, method: Method, route: RouteMetrics, request: bytes, context: ServicerContext[Any, Any]
    ) -> Any:
        """Authorise -> rate limit -> decode -> memory -> service -> encode."""
        started_at = time.monotonic()
        status = CLIENT_LEFT
        try:
            metadata = _metadata(context)
            call = Call(self._entrance, route, metadata, _peer(context), started_at)
            await self._admit(call)
            collection = metadata.get(COLLECTION_KEY.encode(), b"").decode("ascii", "replace")
            asked = method.asked(_message(method, request), collection)
            answer = self._vectors.hit(asked) if isinstance(asked, Query) else None
            if answer is None:
                answer = await self._vectors.answer(asked, deadline_at=started_at + self._left_s(context))
            status = 200
            return method.answered(answer)
        except PacelineError as error:
            status = http_status_of(error)
            await context.abort(status_of(error), details_of(error), trailing_of(error))
        except Exception:  # the boundary: what nobody foresaw is ours, and logged
            status = 500
            request_id = secrets.token_hex(6)
            log.exception("gRPC call %s failed", request_id)
            unforeseen = PacelineError(
                f"the server failed in a way nobody foresaw; its log has the traceback under {request_id}"
            )
            await context.abort(status_of(unforeseen), details_of(unforeseen), trailing_of(unforeseen))
        finally:
            self._count(route, status, time.monotonic() - started_at)

    async def _admit(self, call: Call) -> None:
        if self._entrance.draining:
            raise Overloaded("the server is stopping; call another", retry_after_s=1.0)
        await call.admit()

    def _left_s(self, context: ServicerContext[Any, Any]) -> float:
        """Seconds until the call's deadline; `serve.timeout_s` for a call without one."""
        left_s = context.time_remaining()
        if left_s is None or left_s > _FOREVER_S:
            return self._entrance.policy.timeout_s
        return float(left_s)

    def _count(self, route: RouteMetrics, status: int, seconds: float) -> None:
        route.count(status, seconds)
        if self._entrance.access_log is not None:
            self._entrance.access_log.add(
                Line(
                    at=round(time.time() - seconds, 6),
                    method="GRPC",
                    path=route.path,
                    status=status,
                    duration_ms=round(seconds * 1e3, 3),
                    request_id=secrets.token_hex(6),
                )
            )


@asynccontextmanager
async def listening(  # noqa: PLR0913 - keywords
    service: VectorGrpc,
    address: str,
    *,
    max_bytes: int,
    grace_s: float,
    tls: tuple[bytes, bytes] | None = None,
    shared: bool = False,
) -> AsyncIterator[int]:
    """The port on which `service` answers while the block runs; afterwards open calls have `grace_s` to end.

    `address` is HOST:PORT, port 0 a free one; `tls` is a private key and a certificate chain, PEM; `shared` lets several
    processes listen on one port. ConfigError if it is taken.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", max_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", int(shared)),
        ]
    )
    server.add_generic_rpc_handlers((service.handler(),))
    try:
        if tls is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, grpc.ssl_server_credentials([tls]))
    except RuntimeError as error:
        raise ConfigError(
            f"grpc.port: cannot listen on {address} ({error}); choose another port",
            param="grpc.port",
        ) from error
    await server.start()
    try:
        yield port
    finally:
        await asyncio.shield(server.stop(grace_s))


def _message(method: Method, request: bytes) -> Any:
    message = method.request()
    try:
        message.ParseFromString(request)
    except DecodeError as error:
        raise InvalidRequest(f"the request is no {method.request.DESCRIPTOR.name} ({error})") from None
    return message


def _metadata(context: ServicerContext[Any, Any]) -> dict[bytes, bytes]:
    """As headers of HTTP are kept; binary values, which no key of ours has, are left out."""
    return {
        key.encode(): value.encode()
        for key, value in context.invocation_metadata() or ()
        if isinstance(value, str)
    }


def _peer(context: ServicerContext[Any, Any]) -> tuple[str, int] | None:
    """The caller's address, of `ipv4:1.2.3.4:567` or `ipv6:[::1]:567`."""
    kind, _, rest = context.peer().partition(":")
    host, _, port = rest.rpartition(":")
    return (host.strip("[]"), int(port)) if kind in {"ipv4", "ipv6"} and port.isdigit() else None
