"""The port of gRPC, where `grpc.port` names one: beside HTTP, over the same collections, callers and limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from paceline.base.errors import ConfigError
from paceline.serve.asgi import Application
from paceline.serve.policy import TlsPolicy
from paceline.settings import Settings


def check_grpc(settings: Settings) -> None:
    """ConfigError when there is nothing to serve over gRPC, or no library to serve it with."""
    port = settings.grpc.port
    if not port:
        return
    if not settings.vectors.on:
        raise ConfigError(
            f"grpc.port = {port} serves collections of vectors, and there are none; set vectors.folder",
            param="grpc.port",
        )
    if find_spec("grpc") is None or find_spec("google.protobuf") is None:
        raise ConfigError(
            f"grpc.port = {port}: grpcio or protobuf is not installed; pip install 'paceline[grpc]'",
            param="grpc.port",
        )


@asynccontextmanager
async def open_grpc(settings: Settings, application: Application) -> AsyncIterator[None]:
    """Answer there while the block runs. Workers share the port: the kernel spreads connections over them."""
    serve = settings.serve
    if not settings.grpc.port or application.vectors is None:
        yield
        return
    from paceline.serve.grpc.vector_grpc import VectorGrpc, listening  # noqa: PLC0415 - an extra

    async with listening(
        VectorGrpc(application.vectors, application.entrance, application.metrics),
        f"{serve.host}:{settings.grpc.port}",
        max_bytes=serve.max_body_bytes,
        grace_s=serve.drain_s,
        tls=_certificates(settings.tls),
        shared=serve.workers > 1,
    ):
        yield


def _certificates(tls: TlsPolicy) -> tuple[bytes, bytes] | None:
    """Private key and certificate chain, as for HTTP; None without TLS."""
    if not tls.cert_file or not tls.key_file:
        return None
    try:
        return Path(tls.key_file).read_bytes(), Path(tls.cert_file).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"tls.cert_file = {tls.cert_file!r}, tls.key_file = {tls.key_file!r}: {error}; "
            "give PEM files that this process may read"
        ) from None
