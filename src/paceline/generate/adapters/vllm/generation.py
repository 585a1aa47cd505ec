"""One answer of vLLM under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from math import inf
from typing import Any

from paceline.base.clock import Clock
from paceline.base.errors import DeadlineExceeded, PacelineError
from paceline.base.generation import GenerateEvent, GenerateRequest, TokenLogprob, Usage
from paceline.base.timings import Timings
from paceline.generate.adapters.vllm.output import event_of, logprob_of


class VllmGeneration:
    """A `Generation`. Leaving it aborts the request in the engine."""

    def __init__(  # noqa: PLR0913 - what an answer is made of
        self,
        outputs: AsyncGenerator[Any, None],
        request: GenerateRequest,
        prompt: list[int],
        *,
        model: str,
        ended: Callable[[VllmGeneration], None],
        failure_of: Callable[[Exception], PacelineError | None],
        clock: Clock,
        deadline_at: float = inf,
    ) -> None:
        """`outputs` are vLLM's, new things only; `failure_of` puts its errors into our words."""
        self.model = model
        self.usage = Usage(prompt_tokens=len(prompt))
        self.timings = Timings(cache="bypass")
        self.prompt_logprobs: list[TokenLogprob] | None = None
        self.choices = request.n
        self.failure: PacelineError | None = None
        """What went wrong in the engine; None while all is well."""
        self._outputs = outputs
        self._request = request
        self._prompt = prompt
        self._events: list[GenerateEvent] = []
        self._ended: Callable[[VllmGeneration], None] | None = ended
        self._failure_of = failure_of
        self._over = False
        self._clock = clock
        self._started_at = clock()
        self._deadline_at = deadline_at

    def say_first(self, events: list[GenerateEvent]) -> None:
        """Put events before those that have come."""
        self._events[:0] = events

    async def more(self) -> None:
        """Wait for what the next step brings. Raises what is wrong with the request, and what goes wrong in the engine."""
        left_s = self._deadline_at - self._clock()
        try:
            async with asyncio.timeout(left_s if left_s < inf else None) as limit:
                output = await anext(self._outputs, None)
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineExceeded(
                "the deadline passed before the answer was ready; ask for fewer tokens or allow more time"
            ) from None
        except Exception as error:
            self.failure = self._failure_of(error)
            if self.failure is None:
                raise
            raise self.failure from error
        self._take(output)

    def _take(self, output: Any) -> None:
        now = self._clock()
        if output is None:
            self._over = True
            self.timings.total_s = now - self._started_at
            self.timings.run_s = self.timings.total_s - self.timings.queue_s
            return
        if not self.timings.batch_rows:
            self.timings.batch_rows = 1
            self.timings.queue_s = now - self._started_at
            self.usage.cached_tokens = output.num_cached_tokens or 0
        shown = self._request.prompt_logprobs
        if shown is not None and output.prompt_logprobs and self.prompt_logprobs is None:
            self.prompt_logprobs = [
                logprob_of(token, place, shown)
                for token, place in zip(self._prompt, output.prompt_logprobs, strict=True)
            ]
        for one in output.outputs:
            self.usage.completion_tokens += len(one.token_ids)
            event = event_of(one, self._request.logprobs)
            if event is not None:
                self._events.append(event)

    async def __aiter__(self) -> AsyncIterator[list[GenerateEvent]]:
        """See `Generation`."""
        try:
            while True:
                if self._events:
                    events, self._events = self._events, []
                    yield events
                elif self._over:
                    return
                else:
                    await self.more()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """See `Generation`."""
        self._over, self._events = True, []
        ended, self._ended = self._ended, None
        if ended is not None:
            try:
                await self._outputs.aclose()
            finally:
                ended(self)
