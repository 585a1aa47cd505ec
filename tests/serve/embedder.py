"""An embedding service whose model is a hash: what the routes need, with everything under the test's control."""

from __future__ import annotations

import asyncio
import hashlib

import numpy as np

from paceline.base.api import EmbedRequest, ModelCard
from paceline.base.errors import InvalidRequest, Rejected
from paceline.base.timings import Timings
from paceline.embed.result import EmbedResult

DIMENSIONS = 8


def vector_of(text: str) -> bytes:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    values = np.frombuffer(digest, dtype="<u4").astype("<f4")
    return (values / np.linalg.norm(values)).astype("<f4").tobytes()


class HashEmbedder:
    """A real service whose model is a hash; remembers what it computed."""

    name = "tiny"

    def __init__(self) -> None:
        self.memory: dict[str, bytes] = {}
        self.error: Exception | None = None
        self.refusal: Rejected | None = None
        self.status = "ok"
        self.hold: asyncio.Event | None = None
        self.entered = asyncio.Event()
        self.calls = self.cancelled = 0
        self.deadline_at = 0.0

    def hit(self, request: EmbedRequest) -> EmbedResult | None:
        texts = self._texts(request)
        if request.dimensions is not None and request.dimensions > DIMENSIONS:
            raise InvalidRequest(
                f"dimensions = {request.dimensions} is more than the model's {DIMENSIONS}", param="dimensions"
            )
        if not all(text in self.memory for text in texts):
            return None
        return self._result(request, texts, Timings(cache="l1", total_s=2e-6))

    def check(self, request: EmbedRequest, *, deadline_at: float) -> None:
        """Refuse if told to."""
        if self.refusal is not None:
            raise self.refusal

    async def embed(self, request: EmbedRequest, *, deadline_at: float) -> EmbedResult:
        self.calls += 1
        self.deadline_at = deadline_at
        self.entered.set()
        if self.error is not None:
            raise self.error
        if self.hold is not None:
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        texts = self._texts(request)
        self.memory.update((text, vector_of(text)) for text in texts)
        return self._result(request, texts, Timings(queue_s=0.002, run_s=0.003, batch_rows=len(texts)))

    def _texts(self, request: EmbedRequest) -> list[str]:
        given = [request.input] if isinstance(request.input, str) else request.input
        if not given:
            raise InvalidRequest("input is an empty list; send at least one text", param="input")
        if all(isinstance(item, int) for item in given):
            given = [given]
        if len({type(item) for item in given}) > 1 or not all(
            isinstance(item, (str, list)) for item in given
        ):
            raise InvalidRequest("input mixes kinds; send all texts or all token lists", param="input")
        if not all(isinstance(item, str) or item for item in given):
            raise InvalidRequest("input has an empty token list", param="input")
        return [item if isinstance(item, str) else repr(item) for item in given]

    def _result(self, request: EmbedRequest, texts: list[str], timings: Timings) -> EmbedResult:
        vectors = [self.memory[text][: 4 * (request.dimensions or DIMENSIONS)] for text in texts]
        return EmbedResult(
            vectors=vectors, tokens=3 * len(texts), truncated=[], model=self.name, timings=timings
        )

    def card(self) -> ModelCard:
        return ModelCard(
            id=self.name, created=1, dimensions=DIMENSIONS, max_tokens=256, precision="fp32", engine="hash"
        )

    def stats(self) -> dict[str, dict[str, float]]:
        return {"queue": {"depth": 2, "running": 1, "jobs_total": self.calls}, "breaker": {"state": 0}}

    def health(self) -> dict[str, object]:
        return {"status": self.status, "breaker": "closed"}
