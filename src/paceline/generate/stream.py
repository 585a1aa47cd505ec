"""One answer under way, on the event loop's side: tokens come from the engine's thread, text leaves to the caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from math import inf

import numpy as np

from paceline.base.clock import Clock
from paceline.base.errors import PacelineError
from paceline.base.generation import GenerateEvent, GenerateRequest, TokenLogprob, Usage
from paceline.base.timings import Timings
from paceline.generate.choice import ChoiceText
from paceline.generate.patience import patience
from paceline.generate.sampler import Drawn
from paceline.generate.sequence import Delta, Sequence
from paceline.generate.tokenizer import TextTokenizer


class Stream:
    """A `Generation`: the choices of one request, each a sequence in the engine."""

    def __init__(  # noqa: PLR0913 - what an answer is made of
        self,
        request: GenerateRequest,
        prompt: np.ndarray,
        tokenizer: TextTokenizer,
        *,
        model: str,
        leave: Callable[[Sequence], None],
        clock: Clock,
        started_at: float,
        deadline_at: float = inf,
    ) -> None:
        """`leave` takes a sequence out of the engine and may be told of one that has ended."""
        self.model = model
        self.usage = Usage(prompt_tokens=len(prompt))
        self.timings = Timings(cache="miss")
        self.prompt_logprobs: list[TokenLogprob] | None = None
        self.sequences: list[Sequence] = []
        self.ticket: int | None = None
        """The breaker's, until it is known whether the engine did well."""
        self._prompt = prompt
        self._tokenizer = tokenizer
        self._echo = request.echo
        self._scores = request.prompt_logprobs is not None
        self._choices = [
            ChoiceText(tokenizer, request.stop, index=index, logprobs=request.logprobs is not None)
            for index in range(request.n)
        ]
        self._place: dict[Sequence, int] = {}
        self._open = request.n
        self._events: list[GenerateEvent] = []
        self._failure: PacelineError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._leave = leave
        self._clock = clock
        self._started_at = started_at
        self._deadline_at = deadline_at

    def attach(self, sequences: list[Sequence]) -> None:
        """These sequences are its choices, in order."""
        self.sequences = sequences
        self._place = {sequence: index for index, sequence in enumerate(sequences)}

    # -- from the engine --------------------------------------------------------------------------------------

    def push(self, sequence: Sequence, delta: Delta) -> bool:
        """Take what a step brought for one choice; whether that choice has ended now."""
        index = self._place[sequence]
        if delta.error is not None:
            self._failure = self._failure or delta.error
            self._end(index)
            self._wake()
            return True
        if not sequence.told:
            self._began(index, sequence, delta)
        self.usage.completion_tokens += len(delta.tokens)
        choice = self._choices[index]
        event, ended = choice.push(delta.tokens, delta.drawn)
        if ended and delta.finish is None:
            self._leave(sequence)
        if event is not None:
            self._events.append(event)
        if not ended and delta.finish is not None:
            self._events.append(choice.finish(delta.finish))
            ended = True
        if ended:
            self._end(index)
        if self._events:
            self._wake()
        return ended

    def _began(self, index: int, sequence: Sequence, delta: Delta) -> None:
        """The first tokens of a choice are there: note what that took, and echo the prompt if asked."""
        sequence.told = True
        timings = self.timings
        if not timings.batch_rows:
            timings.queue_s = max(0.0, sequence.first_run_at - sequence.arrived_at)
            timings.batch_rows = 1
            self.usage.cached_tokens = sequence.cached
        if delta.prompt_logprobs is not None and self.prompt_logprobs is None and self._scores:
            self.prompt_logprobs = self._scored(delta.prompt_logprobs)
        if self._echo:
            text, tokens = self._tokenizer.decode(self._prompt.tolist()), tuple(self._prompt.tolist())
            self._events.append(GenerateEvent(index, text, tokens, tuple(self.prompt_logprobs or ())))

    def _scored(self, drawn: list[Drawn]) -> list[TokenLogprob]:
        text = self._tokenizer.token_text
        first = int(self._prompt[0])
        scored = [TokenLogprob(first, text(first), None)]
        for one in drawn:
            top = tuple((token, text(token), logprob) for token, logprob in one.top)
            scored.append(TokenLogprob(one.token, text(one.token), one.logprob, top))
        return scored

    def _end(self, index: int) -> None:
        self._open -= 1
        sequence = self.sequences[index]
        self.timings.run_s = max(self.timings.run_s, sequence.run_s)
        if not self._open:
            self.timings.total_s = self._clock() - self._started_at

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- to the caller ----------------------------------------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[list[GenerateEvent]]:
        """See `Generation`."""
        try:
            while True:
                if self._events:
                    events, self._events = self._events, []
                    yield events
                elif self._failure is not None:
                    raise self._failure
                elif not self._open:
                    return
                else:
                    await self._more()
        finally:
            await self.aclose()

    async def _more(self) -> None:
        """Return when something came; the engine ends late sequences between steps, this ends late callers."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with patience(self._deadline_at, self._clock):
                await self._waiter
        finally:
            self._waiter = None

    async def aclose(self) -> None:
        """See `Generation`."""
        if self._open:
            for sequence in self.sequences:
                self._leave(sequence)
            self._open = 0
            self._failure = None
