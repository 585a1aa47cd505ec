"""One answer under way, on the event loop's side: events come from the step thread and leave to the caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from paceline.base.clock import Clock
from paceline.base.errors import PacelineError
from paceline.base.generation import GenerateEvent, TokenLogprob, Usage
from paceline.base.timings import Timings
from paceline.generate.adapters.openvino_genai.step_thread import Delta, Sequence
from paceline.generate.patience import patience


class Answer:
    """A `Generation`."""

    def __init__(
        self,
        *,
        model: str,
        prompt_tokens: int,
        leave: Callable[[Answer], None],
        clock: Clock,
        deadline_at: float,
    ) -> None:
        """`leave` is told when the answer is over, or no longer wanted."""
        self.model = model
        self.usage = Usage(prompt_tokens=prompt_tokens)
        self.timings = Timings(cache="bypass")
        self.prompt_logprobs: list[TokenLogprob] | None = None
        self.sequences: list[Sequence] = []
        """Its choices that have not ended."""
        self.ticket: int | None = None
        """The breaker's, until it is known how the engine did."""
        self._events: list[GenerateEvent] = []
        self._failure: PacelineError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._leave = leave
        self._clock = clock
        self._started_at = clock()
        self._deadline_at = deadline_at

    def say(self, event: GenerateEvent) -> None:
        """Put an event before those that will come."""
        self._events.append(event)

    def push(self, sequence: Sequence, delta: Delta) -> None:
        """Take what a step brought."""
        if not self.timings.batch_rows:
            self.timings.batch_rows = 1
            self.timings.queue_s = self._clock() - self._started_at
        self.usage.completion_tokens += delta.tokens
        self._events += delta.events
        self._failure = self._failure or delta.error
        if delta.ended:
            self.sequences.remove(sequence)
        if not self.sequences:
            self.timings.total_s = self._clock() - self._started_at
            self.timings.run_s = self.timings.total_s - self.timings.queue_s
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def __aiter__(self) -> AsyncIterator[list[GenerateEvent]]:
        """See `Generation`."""
        try:
            while True:
                if self._events:
                    events, self._events = self._events, []
                    yield events
                elif self._failure is not None:
                    raise self._failure
                elif not self.sequences:
                    return
                else:
                    await self._more()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """See `Generation`."""
        self._events, self._failure = [], None
        self._leave(self)

    async def _more(self) -> None:
        """Return when something came."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with patience(self._deadline_at, self._clock):
                await self._waiter
        finally:
            self._waiter = None
