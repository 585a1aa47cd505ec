"""Answers of queries asked before, in the tiers of `flow.cache`, good until the collection changes: `QueryCache`.

The key is a digest of the collection's name and version, the query's numbers, and all that was asked of it. A write
raises the version, so older answers are never found again and leave as the tiers make room; nothing has to be deleted,
on this host or another. Numbers are rounded to 18 bits below the query's largest one before they are hashed: a
model that computes in another order moves the last bits of float32, not the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import numpy as np
import xxhash

from paceline.base.timings import Tier
from paceline.flow.cache.tiers import Tiers
from paceline.vectors.filters import Filter
from paceline.vectors.metric import Floats
from paceline.vectors.record import Match

_BITS: Final = 18
_encode = msgspec.msgpack.Encoder(enc_hook=lambda vector: np.asarray(vector, np.float32).tobytes()).encode


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """A match as it is kept."""

    id: str
    score: float
    metadata: dict[str, Any] | None
    vector: bytes | None


_decode = msgspec.msgpack.Decoder(list[list[_Kept]]).decode


class Asked(msgspec.Struct, frozen=True):
    """What, beside the query's numbers, decides the answer."""

    k: int
    namespace: str = ""
    filter: bytes = b""
    """`Filter.key`; empty for none."""
    ef: int = 0
    candidates: int = 0
    include_metadata: bool = False
    include_vectors: bool = False

    @classmethod
    def of(cls, k: int, wanted: Filter | None = None, **options: Any) -> Asked:
        """With a filter, or without."""
        return cls(k, filter=b"" if wanted is None else wanted.key, **options)


class QueryCache:
    """Belongs to one event loop, as its tiers do. `name` tells collections that share the tiers apart."""

    def __init__(self, tiers: Tiers, name: str, ttl_s: float) -> None:
        self._tiers = tiers
        self._seed = name.encode() + b"\0"
        self.ttl_s = ttl_s
        """Life of answers kept from now on. May be changed while running."""

    def key(self, vectors: Floats, asked: Asked, version: int) -> bytes:
        """16 bytes; of finite vectors (q, d), or one (d,)."""
        digest = xxhash.xxh3_128(self._seed)
        digest.update(msgspec.msgpack.encode((version, vectors.shape, asked)))
        digest.update(_rounded(vectors).data)
        return digest.digest()

    def peek(self, key: bytes) -> list[list[Match]] | None:
        """The answer if this process has it."""
        value = self._tiers.peek(key)
        return None if value is None else _matches(value)

    async def fetch(
        self, key: bytes, search: Callable[[], list[list[Match]]]
    ) -> tuple[list[list[Match]], Tier]:
        """The answer and where it came from; `search` runs on a thread if no tier has it, once for all who ask."""
        value, tier = await self._tiers.fetch(key, _made(search), self.ttl_s)
        return _matches(value), tier


def _made(search: Callable[[], list[list[Match]]]) -> Callable[[], Awaitable[tuple[bytes, float]]]:
    async def make() -> tuple[bytes, float]:
        started = time.perf_counter()
        found = await asyncio.to_thread(search)
        kept = [[(one.id, one.score, one.metadata, one.vector) for one in matches] for matches in found]
        return _encode(kept), time.perf_counter() - started

    return make


def _rounded(vectors: Floats) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Of each query the exponent of its largest number, then whole numbers on the grid (q, 1 + d)."""
    rows = np.atleast_2d(vectors)
    _, exponent = np.frexp(np.abs(rows).max(axis=1, keepdims=True))
    return np.concatenate([exponent, np.rint(np.ldexp(rows, _BITS - exponent))], axis=1).astype(np.int32)


def _matches(value: bytes) -> list[list[Match]]:
    return [
        [
            Match(
                one.id,
                one.score,
                one.metadata,
                None if one.vector is None else np.frombuffer(one.vector, np.float32),
            )
            for one in matches
        ]
        for matches in _decode(value)
    ]
