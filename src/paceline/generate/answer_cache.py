"""Exact answers kept: a request without chance (temperature 0) is computed once, whatever engine stands behind.

The key is the request in its normal form and the model's identity, so a hit costs no tokens. While an answer is being
made, others who ask for the same follow it as it comes (one flight per key); it is given up when the last one leaves.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from paceline.base.api import ModelCard
from paceline.base.clock import Clock, monotonic
from paceline.base.errors import DeadlineExceeded
from paceline.base.generation import (
    Chat,
    GenerateEvent,
    GenerateRequest,
    Generation,
    Generator,
    Scored,
    ScoreRequest,
    TokenLogprob,
    Usage,
)
from paceline.base.timings import Tier, Timings
from paceline.flow.cache.tiers import Tiers
from paceline.generate.patience import patience


class _Kept(msgspec.Struct, array_like=True):
    """A whole answer, as it lies in the cache."""

    events: list[GenerateEvent]
    usage: Usage
    prompt_logprobs: list[TokenLogprob] | None


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Kept).decode


class CachedGenerator:
    """A `Generator` in front of another one. Belongs to one event loop."""

    def __init__(  # noqa: PLR0913 - its parts, each given by the composition
        self,
        generator: Generator,
        cache: Tiers,
        *,
        fingerprint: bytes,
        ttl_s: float,
        normalize: str = "none",
        clock: Clock = monotonic,
    ) -> None:
        """`fingerprint` names everything that changes an answer: weights, precision, engine, context.

        `normalize` says what of a prompt's white space and case does not matter; the model then sees the folded text.
        """
        self.name = generator.name
        self._generator = generator
        self._cache = cache
        self._seed = hashlib.sha256(fingerprint)
        self.ttl_s = ttl_s
        """Life of answers kept from now on. May be changed while running."""
        self._fold_space = normalize != "none"
        self._fold_case = normalize == "space+case"
        self._clock = clock
        self._flights: dict[bytes, _Flight] = {}

    async def start(self, request: GenerateRequest, *, deadline_at: float) -> Generation:
        """See `Generator.start`; from memory when it is there."""
        request = self._folded(request)
        if request.sampling.temperature > 0.0 or not self._cache.policy.enabled:
            return await self._generator.start(request, deadline_at=deadline_at)
        if request.model is not None and request.model != self.name:
            return await self._generator.start(request, deadline_at=deadline_at)  # which refuses it
        started_at = self._clock()
        key = self._key(request)
        value = self._cache.peek(key)
        if value is not None:
            return _Replay(self.name, _decode(value), "l1", self._clock() - started_at)
        return await self._follow(key, request, deadline_at, started_at)

    async def _follow(
        self, key: bytes, request: GenerateRequest, deadline_at: float, started_at: float
    ) -> Generation:
        """Join the flight of this key, or begin it; what lower tiers have ends it at once."""
        while True:
            flight = self._flights.get(key)
            first = flight is None
            if flight is None:
                flight = self._flights[key] = _Flight(self, key, request, deadline_at)
            follower = _Follower(
                flight, self.name, shared=not first, deadline_at=deadline_at, clock=self._clock
            )
            try:
                async with patience(deadline_at, self._clock):
                    await flight.known()
            except DeadlineExceeded:
                await follower.aclose()
                if first or deadline_at <= self._clock():
                    raise
                continue  # it was another caller's time that was over
            except BaseException:  # refused, or the caller left: it follows no longer
                await follower.aclose()
                raise
            if flight.kept is not None:
                await follower.aclose()
                return _Replay(self.name, flight.kept, flight.tier, self._clock() - started_at)
            return follower

    async def score(self, request: ScoreRequest, *, deadline_at: float) -> list[Scored]:
        """See `Generator.score`; never cached."""
        return await self._generator.score(request, deadline_at=deadline_at)

    def card(self) -> ModelCard:
        """See `Generator.card`."""
        return self._generator.card()

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """See `Generator.stats`."""
        return self._generator.stats()

    def health(self) -> Mapping[str, object]:
        """See `Generator.health`."""
        return self._generator.health()

    async def drain(self) -> None:
        """See `Generator.drain`."""
        await self._generator.drain()

    async def close(self) -> None:
        """See `Generator.close`."""
        await self._generator.close()

    # -- keys -------------------------------------------------------------------------------------------------

    def _folded(self, request: GenerateRequest) -> GenerateRequest:
        prompt = request.prompt
        if not self._fold_space or isinstance(prompt, list):
            return request
        if isinstance(prompt, str):
            return msgspec.structs.replace(request, prompt=self._fold(prompt))
        messages = [
            {**message, "content": self._fold(message["content"])}
            if isinstance(message.get("content"), str)
            else message
            for message in prompt.messages
        ]
        return msgspec.structs.replace(request, prompt=msgspec.structs.replace(prompt, messages=messages))

    def _fold(self, text: str) -> str:
        text = " ".join(text.split())
        return text.casefold() if self._fold_case else text

    def _key(self, request: GenerateRequest) -> bytes:
        """16 bytes of SHA-256 over what the answer depends on: not the caller's name for the model, nor priority."""
        digest = self._seed.copy()
        plain = msgspec.structs.replace(request, model=None, priority="normal")
        kind = b"c" if isinstance(request.prompt, Chat) else b"p"
        digest.update(kind + msgspec.msgpack.encode(plain, order="deterministic"))
        return digest.digest()[:16]


class _Flight:
    """One answer under way and all who follow it; the cache's own flight carries it."""

    def __init__(
        self, owner: CachedGenerator, key: bytes, request: GenerateRequest, deadline_at: float
    ) -> None:
        self.events: list[GenerateEvent] = []
        self.generation: Generation | None = None
        self.kept: _Kept | None = None
        """The whole answer, when a lower tier had it."""
        self.tier: Tier = "miss"
        self.followers = 0
        self._owner = owner
        self._key = key
        self._request = request
        self._deadline_at = deadline_at
        self._moved = asyncio.Event()
        self._task = asyncio.ensure_future(self._fly())
        self._task.add_done_callback(self._landed)

    async def _fly(self) -> None:
        owner = self._owner
        value, tier = await owner._cache.fetch(self._key, self._make, owner.ttl_s)  # noqa: SLF001 - same file
        if self.generation is None:
            self.kept, self.tier = _decode(value), tier

    async def _make(self) -> tuple[bytes, float]:
        """Generate to the end, telling the followers on the way; the value to keep and the seconds it cost."""
        generation = await self._owner._generator.start(self._request, deadline_at=self._deadline_at)  # noqa: SLF001
        self.generation = generation
        self._move()
        try:
            async for events in generation:
                self.events += events
                self._move()
        finally:
            await generation.aclose()
        scored = generation.prompt_logprobs
        kept = _Kept(self.events, generation.usage, None if scored is None else list(scored))
        return _encode(kept), generation.timings.run_s

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._owner._flights.pop(self._key, None)  # noqa: SLF001 - same file
        if not task.cancelled():
            task.exception()  # who still follows raises it; nobody may
        self._move()

    def _move(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def known(self) -> None:
        """Return when the answer has begun or is there; raises what refused it."""
        while self.generation is None and not self._task.done():
            await self._moved.wait()
        if self.generation is None:
            self._task.result()

    @property
    def landed(self) -> bool:
        """Whether nothing more comes."""
        return self._task.done()

    async def moved(self) -> None:
        """Return when something came, or the flight has landed."""
        if not self._task.done():
            await self._moved.wait()

    def outcome(self) -> None:
        """Raise what ended a landed flight before its answer was whole."""
        self._task.result()

    def leave(self) -> None:
        """One follower less; the last one takes the answer with it."""
        self.followers -= 1
        if not self.followers and not self._task.done():
            self._owner._flights.pop(self._key, None)  # noqa: SLF001 - same file
            self._task.cancel()


class _Follower:
    """A `Generation` that reads a flight's events from the first one on."""

    def __init__(
        self, flight: _Flight, model: str, *, shared: bool, deadline_at: float, clock: Clock
    ) -> None:
        self.model = model
        self.timings = Timings(cache="flight" if shared else "miss")
        self._flight = flight
        self._deadline_at = deadline_at
        self._clock = clock
        self._started_at = clock()
        self._joined = True
        flight.followers += 1

    @property
    def usage(self) -> Usage:
        """See `Generation`."""
        assert self._flight.generation is not None
        return self._flight.generation.usage

    @property
    def prompt_logprobs(self) -> Any:
        """See `Generation`."""
        assert self._flight.generation is not None
        return self._flight.generation.prompt_logprobs

    async def __aiter__(self) -> AsyncIterator[list[GenerateEvent]]:
        """See `Generation`."""
        flight, place = self._flight, 0
        try:
            while True:
                if place < len(flight.events):
                    events, place = flight.events[place:], len(flight.events)
                    yield events
                elif flight.landed:
                    flight.outcome()
                    break
                else:
                    await self._more()
        finally:
            await self.aclose()

    async def _more(self) -> None:
        async with patience(self._deadline_at, self._clock):
            await self._flight.moved()

    async def aclose(self) -> None:
        """See `Generation`."""
        if not self._joined:
            return
        self._joined = False
        if self._flight.generation is not None:
            theirs = self._flight.generation.timings
            mine = self.timings
            mine.tokenize_s, mine.queue_s, mine.run_s = theirs.tokenize_s, theirs.queue_s, theirs.run_s
            mine.batch_rows = theirs.batch_rows
        self.timings.total_s = self._clock() - self._started_at
        self._flight.leave()


class _Replay:
    """A `Generation` that was made before."""

    def __init__(self, model: str, kept: _Kept, tier: Tier, seconds: float) -> None:
        self.model = model
        self.usage = kept.usage
        self.timings = Timings(cache=tier, total_s=seconds)
        self.prompt_logprobs = kept.prompt_logprobs
        self._events = kept.events

    async def __aiter__(self) -> AsyncIterator[list[GenerateEvent]]:
        """See `Generation`."""
        if self._events:
            yield self._events

    async def aclose(self) -> None:
        """See `Generation`."""
