"""One answer of an upstream under way: its stream of events, read as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

import httpx
import msgspec

from paceline.base.clock import Clock
from paceline.base.errors import DeadlineExceeded, EngineError, PacelineError
from paceline.base.generation import GenerateEvent, Usage
from paceline.base.timings import Timings
from paceline.generate.adapters.upstream.chunk import ToolCalls, chunk_of, count, event_of
from paceline.generate.adapters.upstream.event_stream import EventStream
from paceline.generate.adapters.upstream.refusal import of_event, of_transport

_DONE: Final = b"[DONE]"


class Source(msgspec.Struct, frozen=True):
    """Where an answer comes from, and what its reader has to know about it."""

    response: httpx.Response
    url: str
    timeout_s: float
    clock: Clock
    deadline_at: float


class UpstreamGeneration:
    """A `Generation`. Prompt tokens are known with the last event only: the upstream counts them."""

    def __init__(
        self, source: Source, *, model: str, choices: int, ended: Callable[[UpstreamGeneration], None]
    ) -> None:
        """`ended` is told once, when the connection is free again or closed."""
        self.model = model
        self.usage = Usage()
        self.timings = Timings(cache="bypass")
        self.prompt_logprobs = None
        self.failure: PacelineError | None = None
        """Why the stream broke after it had begun; None while all is well."""
        self._source = source
        self._bytes = source.response.aiter_bytes()
        self._events = EventStream()
        self._calls: dict[int, ToolCalls] = {}
        self._unfinished = set(range(choices))
        self._waiting: list[GenerateEvent] = []
        self._ended: Callable[[UpstreamGeneration], None] | None = ended
        self._over = False
        self._began_at = source.clock()

    async def begin(self) -> None:
        """Wait for the first event: until then nothing has been told to anybody, and the request may be sent again.

        Raises httpx.HTTPError, and what an event reports: a refusal by an upstream that answers before it looks.
        """
        if self._source.response.headers.get("content-type", "").startswith("application/json"):
            self._take([await self._source.response.aread()])  # it does not stream: one event says all
            self._over = True
            self._must_be_finished()
        while not self._waiting and not self._over:
            await self._read()
        self.timings.queue_s = self._source.clock() - self._began_at

    async def __aiter__(self) -> AsyncIterator[list[GenerateEvent]]:
        """See `Generation`."""
        try:
            while True:
                if self._waiting:
                    events, self._waiting = self._waiting, []
                    yield events
                elif self._over:
                    break
                else:
                    await self._more()
            self._measure()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """See `Generation`: a connection whose reply was not read to its end is closed, and the upstream sees that."""
        self._over, self._waiting = True, []
        ended, self._ended = self._ended, None
        if ended is not None:
            try:
                await self._source.response.aclose()
            finally:
                ended(self)

    async def _more(self) -> None:
        """`_read` until the deadline, with every failure as one of ours."""
        source = self._source
        left_s = source.deadline_at - source.clock()
        try:
            async with asyncio.timeout(left_s) as limit:
                await self._read()
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineExceeded(
                "the deadline passed before the upstream's answer was complete; ask for fewer tokens or allow more time"
            ) from None
        except httpx.HTTPError as error:
            self.failure = of_transport(error, source.url, source.timeout_s)
            raise self.failure from error
        except PacelineError as error:
            self.failure = error
            raise

    async def _read(self) -> None:
        """Take in what the next bytes bring, which may be nothing."""
        try:
            received = await anext(self._bytes)
        except StopAsyncIteration:
            self._take(self._events.end())
            self._over = True
            self._must_be_finished()
        else:
            self._take(self._events.feed(received))

    def _take(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            if payload == _DONE:
                self._must_be_finished()
                continue
            failure = of_event(payload)
            if failure is not None:
                raise failure
            chunk = chunk_of(payload)
            if chunk.usage is not None:
                count(self.usage, chunk.usage)
            for choice in chunk.choices:
                event = event_of(choice, self._calls)
                if event is not None:
                    self._waiting.append(event)
                    if event.finish_reason is not None:
                        self._unfinished.discard(event.index)

    def _must_be_finished(self) -> None:
        if self._unfinished:
            raise EngineError(
                f"the upstream ended its answer with {len(self._unfinished)} of its choices unfinished; try again"
            )

    def _measure(self) -> None:
        timings = self.timings
        timings.total_s = self._source.clock() - self._began_at
        timings.run_s = timings.total_s - timings.queue_s
        timings.batch_rows = 1
