"""The embedding service: one straight path from texts to vectors, without HTTP.

    cache (L1 -> L2 -> L3, one flight per key) -> gate -> tokenise -> breaker -> batcher -> engine -> fill cache

`hit` is the synchronous short cut when every text is in memory; `embed` is the whole path.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Sequence
from typing import cast

import numpy as np

from paceline.base.api import EmbedRequest, ModelCard
from paceline.base.clock import Clock, monotonic
from paceline.base.errors import DeadlineExceeded, InvalidRequest, NotFound, PacelineError, PayloadTooLarge
from paceline.base.timings import Timings
from paceline.embed.compute import VALUE_HEADER, Compute, Text, Work
from paceline.embed.result import EmbedResult
from paceline.flow.cache.tiers import Tiers


class EmbedService:
    """Embeds texts with one model. Belongs to one event loop."""

    def __init__(  # noqa: PLR0913 - its parts, each given by the composition
        self,
        *,
        card: ModelCard,
        fingerprint: bytes,
        compute: Compute,
        cache: Tiers | None,
        ttl_s: float,
        normalize: str = "none",
        max_texts: int = 2048,
        clock: Clock = monotonic,
    ) -> None:
        """`fingerprint` names everything that changes a vector: weights, precision, pooling, window, folding."""
        self.name = card.id
        self._card = card
        self._compute = compute
        self._cache = cache
        self.ttl_s = ttl_s
        """Life of results kept from now on. May be changed while running."""
        self._fold_space = normalize != "none"
        self._fold_case = normalize == "space+case"
        self.max_texts = max_texts
        """May be changed while running."""
        self._clock = clock
        self._seed = hashlib.sha256(fingerprint)
        self.texts_total = 0
        self.tokens_total = 0

    # -- the short cut ----------------------------------------------------------------------------------------

    def hit(self, request: EmbedRequest) -> EmbedResult | None:
        """Answer from memory when every text is there, else None. Takes microseconds, never waits."""
        cache = self._cache
        if cache is None or (request.model is not None and request.model != self.name):
            return None
        started_at = self._clock()
        text = request.input
        if type(text) is str:
            value = cache.peek(self._key(self._folded(text)))
            if value is None:
                return None
            values = [value]
        else:
            values = []
            for item in self._texts(request):
                value = cache.peek(self._key(item))
                if value is None:
                    return None
                values.append(value)
        return self._result(request, values, Timings(cache="l1"), started_at)

    def check(self, request: EmbedRequest, *, deadline_at: float) -> None:
        """Raise Overloaded or CircuitOpen when `embed` certainly would, in microseconds; else return.

        Under overload most requests end here. Certain is a request whose missing texts neither another tier nor
        another caller's run can bring.
        """
        cache = self._cache
        missing: list[Text] = []
        for text in self._texts(request):
            if cache is not None:
                key = self._key(text)
                if cache.may_bring(key):
                    return
                if cache.peek(key) is not None:
                    continue
            missing.append(text)
        self._compute.check(missing, request.priority, deadline_at)

    # -- the whole path ---------------------------------------------------------------------------------------

    async def embed(self, request: EmbedRequest, *, deadline_at: float) -> EmbedResult:
        """Embed every input of the request, or none.

        `deadline_at` is an instant of the service's clock. Raises InvalidRequest, PayloadTooLarge, NotFound,
        Overloaded, CircuitOpen, DeadlineExceeded, EngineError.
        """
        started_at = self._clock()
        if request.model is not None and request.model != self.name:
            raise NotFound(
                f"model {request.model!r} is not served here; this server has {self.name!r} (see /v1/models)",
                param="model",
            )
        if request.dimensions is not None and request.dimensions > self._card.dimensions:
            raise InvalidRequest(
                f"dimensions = {request.dimensions} is more than the model's {self._card.dimensions}; "
                "ask for that many or fewer",
                param="dimensions",
            )
        texts = self._texts(request)
        keys = [self._key(text) for text in texts]
        values = [None if self._cache is None else self._cache.peek(key) for key in keys]
        missing = [index for index, value in enumerate(values) if value is None]
        work = self._compute.begin(request, texts, missing, deadline_at)
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline_at - started_at):
                found = await _all([self._value(work, index, keys[index]) for index in missing])
        except TimeoutError:
            raise DeadlineExceeded(
                f"the deadline of {deadline_at - started_at:.3f} s passed before the answer was ready; "
                "send fewer texts, a longer x-request-timeout-ms, or try again when the server is less busy"
            ) from None
        for index, value in zip(missing, found, strict=True):
            values[index] = value
        return self._result(request, cast("list[bytes]", values), work.timings, started_at)

    async def _value(self, work: Work, index: int, key: bytes) -> bytes:
        """One text's cached or computed value; another caller's failed flight is not our failure."""
        if self._cache is None:
            work.saw("bypass")
            return (await work.make(index))[0]
        while True:
            made = False

            async def make() -> tuple[bytes, float]:
                nonlocal made
                made = True
                return await work.make(index)

            try:
                value, tier = await self._cache.fetch(key, make, self.ttl_s)
            except PacelineError:
                # A flight ends with its first caller's refusal or deadline; those who shared it try on their own.
                if made:
                    raise
                continue
            work.saw(tier)
            return value

    # -- pieces -----------------------------------------------------------------------------------------------

    def _texts(self, request: EmbedRequest) -> list[Text]:
        """The inputs, one entry a vector; raises InvalidRequest or PayloadTooLarge."""
        given = request.input
        if isinstance(given, str):
            return [self._folded(given)]
        if not given:
            raise InvalidRequest("input is an empty list; send at least one text", param="input")
        if isinstance(given[0], int):
            for position, token in enumerate(given):
                if not isinstance(token, int):
                    raise InvalidRequest(
                        f"input[{position}] is not a token id as input[0] is; send one kind of input",
                        param="input",
                    )
            return [given]  # type: ignore[list-item]  # checked above
        if len(given) > self.max_texts:
            raise PayloadTooLarge(
                f"input has {len(given)} texts, the limit is {self.max_texts} (embed.max_texts); send several requests",
                param="input",
            )
        kind = type(given[0])
        for position, item in enumerate(given):
            if type(item) is not kind:
                raise InvalidRequest(
                    f"input[{position}] is of another kind than input[0]; send all texts or all token lists",
                    param=f"input[{position}]",
                )
        return [self._folded(item) if isinstance(item, str) else item for item in given]  # type: ignore[misc]

    def _folded(self, text: str) -> str:
        if self._fold_space:
            text = " ".join(text.split())
            if self._fold_case:
                text = text.casefold()
        return text

    def _key(self, text: Text) -> bytes:
        """16 bytes of SHA-256: not even a hostile caller can make two texts meet in a shared cache."""
        digest = self._seed.copy()
        if type(text) is str:
            digest.update(b"t" + text.encode("utf-8", "surrogatepass"))
        else:
            digest.update(b"i" + np.asarray(text, dtype="<i8").tobytes())
        return digest.digest()[:16]

    def _result(
        self, request: EmbedRequest, values: Sequence[bytes], timings: Timings, started_at: float
    ) -> EmbedResult:
        vectors: list[bytes] = []
        truncated: list[int] = []
        tokens = 0
        for index, value in enumerate(values):
            count, cut = VALUE_HEADER.unpack_from(value)
            tokens += count
            if cut:
                truncated.append(index)
            vectors.append(value[VALUE_HEADER.size :])
        if truncated and not request.truncate:
            raise PayloadTooLarge(
                f"input[{truncated[0]}] is longer than the model's {self._card.max_tokens} tokens; "
                "shorten it or send truncate = true",
                param=f"input[{truncated[0]}]",
            )
        wanted = request.dimensions
        if wanted is not None and wanted != self._card.dimensions:
            if wanted > self._card.dimensions:
                raise InvalidRequest(
                    f"dimensions = {wanted} is more than the model's {self._card.dimensions}; ask for that many or fewer",
                    param="dimensions",
                )
            vectors = [_cut(vector, wanted) for vector in vectors]
        self.texts_total += len(vectors)
        self.tokens_total += tokens
        timings.total_s = self._clock() - started_at
        return EmbedResult(
            vectors=vectors, tokens=tokens, truncated=truncated, model=self.name, timings=timings
        )

    # -- state ------------------------------------------------------------------------------------------------

    def card(self) -> ModelCard:
        """The entry of `/v1/models`."""
        return self._card

    def stats(self) -> dict[str, dict[str, float]]:
        """Counters by area, for the metrics page."""
        areas = self._compute.lane.stats()
        areas["embed"] = {"texts_total": self.texts_total, "tokens_total": self.tokens_total}
        if self._cache is not None:
            areas["cache"] = self._cache.stats()
        return areas

    def health(self) -> dict[str, object]:
        """State of the engine, its breaker, and the cache tiers."""
        state = dict(self._compute.lane.health())
        state["cache"] = self._cache.health() if self._cache is not None else "off"
        return state

    async def drain(self) -> None:
        """Return when no text is queued or running."""
        await self._compute.lane.drain()

    async def close(self) -> None:
        """Stop the lane; the cache belongs to the composition."""
        await self._compute.lane.close()


def _cut(vector: bytes, dimensions: int) -> bytes:
    """The first `dimensions` values, normalised again (Matryoshka; Kusupati et al. 2022)."""
    head = np.frombuffer(vector, dtype="<f4", count=dimensions)
    norm = float(np.sqrt(head @ head))
    return (head / norm).astype("<f4").tobytes() if norm > 0 else head.tobytes()


async def _all(calls: list[Coroutine[None, None, bytes]]) -> list[bytes]:
    """Await all; the first failure cancels the rest and is raised as it is."""
    if len(calls) == 1:
        return [await calls[0]]
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
