"""Answers of queries asked before, in the tiers of `flow.cache`, good until the collection changes: `QueryCache`.

The key is a digest of the collection's identity and version, the query's numbers, and all that was asked of it. A write
raises the version, so older answers are never found again and leave as the tiers make room; nothing has to be deleted,
on this host or another. Numbers are rounded to 18 bits below the query's largest one before they are hashed: a
model that computes in another order moves the last bits of float32, not the answer.

What is kept is the answer as msgpack: reading it takes two microseconds where making it of matches takes ten.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import numpy as np
import orjson
import xxhash

from paceline.base.timings import Tier
from paceline.base.vectors_records import Queried, Query
from paceline.flow.cache.tiers import Tiers
from paceline.vectors.metric import Floats

Search = Callable[[], Awaitable[Queried]]

TTL_S: Final = 43_200.0
_BITS: Final = 18
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Queried).decode


class QueryCache:
    """Belongs to one event loop, as its tiers do. `identity` tells collections that share the tiers apart."""

    def __init__(self, tiers: Tiers, identity: str, ttl_s: float) -> None:
        self._tiers = tiers
        self._seed = identity.encode() + b"\0"
        self.ttl_s = ttl_s
        """Life of answers kept from now on. May be changed while running."""

    def key(self, query: Query, vector: Floats | None, *, ef: int, candidates: int, version: int) -> bytes:
        """16 bytes. `vector` (d,) are the query's numbers, finite ones; `ef` and `candidates` those in force."""
        wanted = query.filter
        named = (
            version,
            query.top_k,
            query.namespace,
            b"" if wanted is None else orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS),
            ef,
            candidates,
            query.exact,
            query.include_metadata,
            query.include_values,
            query.id,
            query.text,
            query.weights if query.text is not None else None,
            type(query.vector) is str,  # then the answer's values are base64 too
        )
        digest = xxhash.xxh3_128(self._seed)
        digest.update(_encode(named))
        if vector is not None:
            digest.update(_rounded(vector).data)
        return digest.digest()

    def peek(self, key: bytes) -> Queried | None:
        """The answer if this process has it."""
        value = self._tiers.peek(key)
        return None if value is None else _decode(value)

    async def fetch(self, key: bytes, search: Search) -> tuple[Queried, Tier]:
        """The answer and where it came from; `search` runs if no tier has it, once for all who ask.

        An answer without all shards is given to those who asked at the time, and not kept.
        """
        made: list[Queried] = []

        async def make() -> tuple[bytes, float]:
            started = time.perf_counter()
            answer = await search()
            if answer.partial:
                raise _NotKept(answer)
            made.append(answer)
            return _encode(answer), time.perf_counter() - started

        try:
            value, tier = await self._tiers.fetch(key, make, self.ttl_s)
        except _NotKept as partial:
            return partial.answer, "bypass"
        return made[0] if made else _decode(value), tier


class _NotKept(Exception):  # noqa: N818 - carries an answer past the tiers, which keep what returns
    def __init__(self, answer: Queried) -> None:
        super().__init__()
        self.answer = answer


def _rounded(vector: Floats) -> np.ndarray[Any, np.dtype[np.int32]]:
    """The exponent of the largest number, then whole numbers on the grid (1 + d,)."""
    largest = max(float(vector.max()), -float(vector.min()))
    exponent = int(np.frexp(largest)[1])
    grid = np.empty(len(vector) + 1, np.int32)
    grid[0] = exponent
    np.rint(np.ldexp(vector, _BITS - exponent), out=grid[1:], casting="unsafe")
    return grid
