"""A generator in another process of this host: HTTP workers share one engine, one cache of prefixes, one queue.

The worker's end asks for what came next, call by call; what came between two calls travels together.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from paceline.base.api import ModelCard
from paceline.base.errors import EngineError
from paceline.base.generation import (
    GenerateEvent,
    GenerateRequest,
    Generation,
    Generator,
    Scored,
    ScoreRequest,
    TokenLogprob,
    Usage,
)
from paceline.base.timings import Timings
from paceline.flow.channel import Channel

PREFIX: Final = "generate."
"""Operations of the channel that are ours."""
HEALTH_EVERY_S: Final = 1.0


class _Said(msgspec.Struct, array_like=True, gc=False):
    """What one call for more brings."""

    events: list[GenerateEvent]
    usage: Usage
    timings: Timings
    prompt_logprobs: list[TokenLogprob] | None
    ended: bool


class RemoteGeneration:
    """The calling end of one answer."""

    def __init__(self, channel: Channel, model: str, number: int, usage: Usage) -> None:
        self.model = model
        self.usage = usage
        self.timings = Timings()
        self.prompt_logprobs: list[TokenLogprob] | None = None
        self._channel = channel
        self._number = number
        self._open = True

    async def __aiter__(self) -> AsyncIterator[list[GenerateEvent]]:
        """See `Generation`."""
        try:
            while self._open:
                said = msgspec.convert(await self._channel.call(f"{PREFIX}more", self._number), _Said)
                self.usage, self.timings, self.prompt_logprobs = (
                    said.usage,
                    said.timings,
                    said.prompt_logprobs,
                )
                self._open = not said.ended
                if said.events:
                    yield said.events
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """See `Generation`."""
        if self._open:
            self._open = False
            await self._channel.call(f"{PREFIX}leave", self._number)


class RemoteGenerator:
    """The calling end of a generator; instants travel as they are: the monotonic clock is one for a host."""

    def __init__(self, channel: Channel, card: ModelCard) -> None:
        self.name = card.id
        self._card = card
        self._channel = channel
        self._health: dict[str, object] = {"status": "starting"}

    async def start(self, request: GenerateRequest, *, deadline_at: float) -> RemoteGeneration:
        """See `Generator.start`."""
        payload = [msgspec.to_builtins(request, str_keys=False), deadline_at]
        number, usage = await self._channel.call(f"{PREFIX}start", payload)
        return RemoteGeneration(self._channel, self.name, number, msgspec.convert(usage, Usage))

    async def score(self, request: ScoreRequest, *, deadline_at: float) -> list[Scored]:
        """See `Generator.score`."""
        told = await self._channel.call(f"{PREFIX}score", [msgspec.to_builtins(request), deadline_at])
        return msgspec.convert(told, list[Scored])

    def card(self) -> ModelCard:
        """See `Generator.card`."""
        return self._card

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """Nothing: the engine process counts its own."""
        return {}

    def health(self) -> Mapping[str, object]:
        """What the engine process last said, at most a second ago."""
        if not self._channel.connected:
            return {
                "status": "failing",
                "reason": "the engine process does not answer; it is being restarted",
            }
        return self._health

    async def watch(self) -> None:
        """Ask the engine process for its health until cancelled."""
        while True:
            await self.health_now()
            await asyncio.sleep(HEALTH_EVERY_S)

    async def health_now(self) -> None:
        """Ask once."""
        try:
            self._health = await self._channel.call(f"{PREFIX}health", None)
        except EngineError as error:
            self._health = {"status": "failing", "reason": error.message}

    async def drain(self) -> None:
        """The engine process drains after its workers have ended."""

    async def close(self) -> None:
        """Nothing of its own; the channel is its owner's to close."""


class GenerateHost:
    """The answering end: holds the answers that workers read."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._open: dict[int, tuple[Generation, AsyncIterator[list[GenerateEvent]]]] = {}
        self._numbers = itertools.count()

    async def answer(self, operation: str, payload: Any) -> Any:
        """One call of a `RemoteGenerator`; raises what the generator raises."""
        match operation.removeprefix(PREFIX):
            case "start":
                request, deadline_at = payload
                generation = await self._generator.start(
                    msgspec.convert(request, GenerateRequest), deadline_at=deadline_at
                )
                number = next(self._numbers)
                self._open[number] = generation, aiter(generation)
                return number, msgspec.to_builtins(generation.usage)
            case "more":
                return await self._more(payload)
            case "leave":
                left = self._open.pop(payload, None)
                if left is not None:
                    await left[0].aclose()
                return None
            case "score":
                request, deadline_at = payload
                scored = await self._generator.score(
                    msgspec.convert(request, ScoreRequest), deadline_at=deadline_at
                )
                return msgspec.to_builtins(scored)
            case "health":
                return msgspec.to_builtins(self._generator.health())
            case _:
                raise EngineError(
                    f"the engine process does not know the call {operation!r}; are all processes of one version?"
                )

    async def _more(self, number: int) -> Any:
        """The next events of one answer. A worker that dies, or whose caller left, cancels the call: so does this."""
        held = self._open.get(number)
        if held is None:
            raise EngineError("the engine process was restarted; send the request again")
        generation, events = held
        try:
            came: list[GenerateEvent] = await anext(events, [])
        except BaseException:  # whatever ends the answer, cancellation too, frees what it holds
            self._open.pop(number, None)
            await generation.aclose()
            raise
        if not came:
            self._open.pop(number, None)
        scored = generation.prompt_logprobs
        said = _Said(
            came,
            generation.usage,
            generation.timings,
            None if scored is None else list(scored),
            ended=not came,
        )
        return msgspec.to_builtins(said)
