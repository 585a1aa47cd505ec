"""Compression of replies by negotiation (RFC 9110, section 12.5.3)."""

from __future__ import annotations

import asyncio
import functools
import gzip
from collections.abc import Callable

import zstandard

_INLINE_BYTES = 65536
"""Larger bodies are compressed in a thread (both libraries let go of the interpreter lock meanwhile)."""


def _zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(body)


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=1, mtime=0)


_COMPRESS: dict[str, Callable[[bytes], bytes]] = {"zstd": _zstd, "gzip": _gzip}


@functools.lru_cache(maxsize=256)
def negotiate(accept_encoding: bytes, algorithms: tuple[str, ...]) -> str | None:
    """The algorithm the client likes best, ours to choose among equals; None for sending the body as it is."""
    wanted: dict[str, float] = {}
    for part in accept_encoding.decode("latin-1").lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    # A weight that is no number: the client cannot have meant "gladly".
                    quality = 0.0
        wanted[name] = quality
    anything = wanted.get("*", 0.0)
    best, best_quality = None, max(0.0, wanted.get("identity", 0.0))
    for algorithm in algorithms:
        quality = wanted.get(algorithm, anything)
        if quality > best_quality or (quality == best_quality > 0 and best is None):
            best, best_quality = algorithm, quality
    return best


async def compress(body: bytes, algorithm: str) -> bytes:
    """`body` compressed; large ones off the event loop."""
    if len(body) <= _INLINE_BYTES:
        return _COMPRESS[algorithm](body)
    return await asyncio.get_running_loop().run_in_executor(None, _COMPRESS[algorithm], body)
