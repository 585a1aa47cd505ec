"""The generation service: one straight path from a request to a stream of events, without HTTP.

template -> tokens -> limits -> gate -> breaker -> engine -> (tokens back) -> text, stop strings -> events
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from paceline.base.api import ModelCard, Priority
from paceline.base.clock import Clock, monotonic
from paceline.base.errors import EngineError, InvalidRequest, NotFound, PayloadTooLarge
from paceline.base.generation import Chat, GenerateRequest, Scored, ScoreRequest
from paceline.flow.breaker import Breaker
from paceline.generate.admission import Admission
from paceline.generate.chat_template import ChatTemplate
from paceline.generate.engine import Engine
from paceline.generate.guide import GuideFactory, Matcher
from paceline.generate.limits import check_sampling
from paceline.generate.policy import GeneratePolicy
from paceline.generate.randomness import choice_seed
from paceline.generate.runner import BLOCK_TOKENS
from paceline.generate.sampler import Row
from paceline.generate.sequence import Delta, Sequence
from paceline.generate.step_log import StepLog
from paceline.generate.stream import Stream
from paceline.generate.tokenizer import TextTokenizer

PRIORITIES: Final[dict[Priority, int]] = {"high": 0, "normal": 1, "low": 2}

_CHARACTERS_INLINE: Final = 20_000
"""More text than this is tokenised in a thread: the event loop must not stand still for milliseconds."""


class GenerateService:
    """Generates text with one model. Belongs to one event loop; the engine has a thread of its own."""

    def __init__(  # noqa: PLR0913 - its parts, each given by the composition
        self,
        *,
        card: ModelCard,
        engine: Engine,
        tokenizer: TextTokenizer,
        template: ChatTemplate,
        guides: GuideFactory,
        admission: Admission,
        breaker: Breaker,
        clock: Clock = monotonic,
    ) -> None:
        self.name = card.id
        self._card = card
        self._engine = engine
        self._tokenizer = tokenizer
        self._template = template
        self._guides = guides
        self.admission = admission
        self.breaker = breaker
        self._clock = clock
        self._eos_ids = frozenset(tokenizer.special.eos)
        self._live: dict[Sequence, int] = {}
        """Sequences in the engine with the prompt tokens each was admitted with."""
        self._idle = asyncio.Event()
        self._idle.set()

    # -- the path ---------------------------------------------------------------------------------------------

    async def start(self, request: GenerateRequest, *, deadline_at: float) -> Stream:
        """See `Generator.start`."""
        started_at = self._clock()
        self._must_be_ours(request.model)
        check_sampling(request, self._tokenizer.vocab_size)
        prompt = self._fitted(await self._tokens(request.prompt), request)
        max_tokens = self._room(len(prompt), request.max_tokens)
        stream = Stream(
            request,
            prompt,
            self._tokenizer,
            model=self.name,
            leave=self._leave,
            clock=self._clock,
            started_at=started_at,
            deadline_at=deadline_at,
        )
        stream.timings.tokenize_s = self._clock() - started_at
        matchers = await self._matchers(request)
        sequences = [
            self._sequence(request, prompt, max_tokens, index, stream, matchers[index])
            for index in range(request.n)
        ]
        for sequence in sequences:
            sequence.deadline_at = deadline_at
        stream.attach(sequences)
        self._submit(stream.sequences, deadline_at)
        return stream

    async def score(self, request: ScoreRequest, *, deadline_at: float) -> list[Scored]:
        """See `Generator.score`: the context is computed once, whatever the number of continuations."""
        started_at = self._clock()
        self._must_be_ours(request.model)
        if not request.continuations:
            raise InvalidRequest("continuations is an empty list; send at least one", param="continuations")
        context = await self._tokens(request.context)
        if not len(context):
            raise InvalidRequest("context has no tokens; send at least one", param="context")
        streams = []
        for number, continuation in enumerate(request.continuations):
            asked = GenerateRequest(prompt="", max_tokens=1, prompt_logprobs=1, priority=request.priority)
            tail = (
                self._tokenizer.encode(continuation, add_special=False)
                if isinstance(continuation, str)
                else self._tokenizer.check_ids(continuation, f"continuations[{number}]")
            )
            if not len(tail):
                raise InvalidRequest(
                    f"continuations[{number}] has no tokens", param=f"continuations[{number}]"
                )
            prompt = self._fitted(np.concatenate([context, tail]), asked)
            stream = Stream(
                asked,
                prompt,
                self._tokenizer,
                model=self.name,
                leave=self._leave,
                clock=self._clock,
                started_at=started_at,
                deadline_at=deadline_at,
            )
            sequence = self._sequence(asked, prompt, 1, 0, stream)
            sequence.score_from, sequence.deadline_at = len(context), deadline_at
            stream.attach([sequence])
            streams.append(stream)
        self._submit([stream.sequences[0] for stream in streams], deadline_at)
        try:
            return [await self._scored(stream) for stream in streams]
        finally:
            for stream in streams:
                await stream.aclose()

    @staticmethod
    async def _scored(stream: Stream) -> Scored:
        async for _ in stream:
            pass
        assert stream.prompt_logprobs is not None
        told = stream.prompt_logprobs[1:]
        logprobs = tuple(one.logprob for one in told if one.logprob is not None)
        return Scored(
            logprob=sum(logprobs),
            tokens=tuple(one.token for one in told),
            token_logprobs=logprobs,
            greedy=all(one.top[0][0] == one.token for one in told),
        )

    # -- pieces -----------------------------------------------------------------------------------------------

    def _must_be_ours(self, model: str | None) -> None:
        if model is not None and model != self.name:
            raise NotFound(
                f"model {model!r} is not served here; this server has {self.name!r} (see /v1/models)",
                param="model",
            )

    async def _tokens(self, prompt: str | list[int] | Chat) -> np.ndarray:
        """The prompt as int32 ids."""
        if isinstance(prompt, list):
            return self._tokenizer.check_ids(prompt)
        add_special = True
        if isinstance(prompt, Chat):
            # The template writes special tokens itself.
            prompt = self._template.render(prompt.messages, prompt.tools, **dict(prompt.template_arguments))
            add_special = False
        if len(prompt) <= _CHARACTERS_INLINE:
            return self._tokenizer.encode(prompt, add_special=add_special)
        return await asyncio.to_thread(self._tokenizer.encode, prompt, add_special=add_special)

    def _fitted(self, prompt: np.ndarray, request: GenerateRequest) -> np.ndarray:
        """The prompt, cut if that was asked for; raises InvalidRequest when empty, PayloadTooLarge when too long."""
        context = self._engine.context_tokens
        if not len(prompt):
            raise InvalidRequest("the prompt has no tokens; send at least one", param="prompt")
        if len(prompt) < context:
            return prompt
        if not request.truncate:
            raise PayloadTooLarge(
                f"the prompt has {len(prompt)} tokens and the context holds {context}, one at least for the answer; "
                "shorten it, or send truncate = true to keep its end",
                param="prompt",
            )
        return prompt[len(prompt) - max(1, context - (request.max_tokens or context // 4)) :]

    def _room(self, prompt_tokens: int, asked: int | None) -> int:
        """Tokens that may be generated."""
        room = self._engine.context_tokens - prompt_tokens
        if asked is not None and asked > room:
            raise InvalidRequest(
                f"max_tokens = {asked} and the prompt's {prompt_tokens} tokens are more than the context of "
                f"{self._engine.context_tokens}; ask for {room} or fewer, or leave max_tokens out",
                param="max_tokens",
            )
        return room if asked is None else asked

    async def _matchers(self, request: GenerateRequest) -> list[Matcher | None]:
        """One per choice; a guide that is new is compiled in a thread."""
        guide = request.sampling.guide
        if guide is None:
            return [None] * request.n
        return [await asyncio.to_thread(self._guides.matcher, guide) for _ in range(request.n)]

    def _sequence(  # noqa: PLR0913, PLR0917 - what a sequence is made of
        self,
        request: GenerateRequest,
        prompt: np.ndarray,
        max_tokens: int,
        index: int,
        stream: Stream,
        matcher: Matcher | None = None,
    ) -> Sequence:
        sampling = request.sampling
        stops = frozenset(request.stop_token_ids)
        if not request.ignore_eos:
            stops |= self._eos_ids
        row = Row(
            sampling=sampling,
            seed=choice_seed(sampling.seed, index),
            prompt=prompt,
            matcher=matcher,
            logprobs=request.logprobs,
        )
        return Sequence(
            prompt,
            row,
            stream,
            max_tokens=max_tokens,
            stop_ids=stops,
            priority=PRIORITIES[request.priority],
            arrived_at=self._clock(),
            score_from=None if request.prompt_logprobs is None else 1,
            score_top=request.prompt_logprobs or 0,
        )

    def _submit(self, sequences: list[Sequence], deadline_at: float) -> None:
        """Admit all of them together, or none, and hand them to the engine."""
        costs = self._costs(sequences)
        self.breaker.check()
        self.admission.admit(len(sequences), sum(costs), deadline_at)
        for stream in dict.fromkeys(one.stream for one in sequences):
            stream.ticket = self.breaker.allow()
        self._live.update(zip(sequences, costs, strict=True))
        self._idle.clear()
        self._engine.submit(*sequences)

    def _costs(self, sequences: list[Sequence]) -> list[int]:
        """Prompt tokens each will really compute: what the prefix cache or an earlier one of them has is free."""
        first = sequences[0]
        known = len(self._engine.pool.spelled(first.keys, first.ids)) * BLOCK_TOKENS
        costs = [max(1, first.length - known)]
        for one in sequences[1:]:
            shared = next(
                (place for place, (a, b) in enumerate(zip(first.keys, one.keys, strict=False)) if a != b),
                min(len(first.keys), len(one.keys)),
            )
            costs.append(max(1, one.length - max(known, shared * BLOCK_TOKENS)))
        return costs

    # -- from the engine --------------------------------------------------------------------------------------

    def receive(self, out: list[tuple[Sequence, Delta]]) -> None:
        """What one step brought, on the event loop."""
        now = self._clock()
        faulty = False
        for sequence, delta in out:
            cost = self._live.get(sequence)
            if cost is None:
                continue  # its caller has left
            if cost and delta.error is None:
                self.admission.first_token(cost)
                self._live[sequence] = 0
            if isinstance(delta.error, EngineError) and not faulty:
                faulty = True  # a failed step is one fault, however many sequences were in it
                self._settle(sequence.stream, self.breaker.record_failure)
            if sequence.stream.push(sequence, delta) or delta.finish is not None:
                self._settle(
                    sequence.stream,
                    self.breaker.record_success if delta.error is None else self.breaker.release,
                )
                self._forget(sequence, now)

    @staticmethod
    def _settle(stream: Stream, tell: Callable[[int], None]) -> None:
        """Hand back the breaker's ticket of a request, once."""
        ticket, stream.ticket = stream.ticket, None
        if ticket is not None:
            tell(ticket)

    def _leave(self, sequence: Sequence) -> None:
        """The caller wants no more of it."""
        if sequence in self._live:
            self._settle(sequence.stream, self.breaker.release)
            self._engine.abort(sequence)
            self._forget(sequence, self._clock())

    def _forget(self, sequence: Sequence, now: float) -> None:
        cost = self._live.pop(sequence, None)
        if cost is None:
            return
        if cost:
            self.admission.left(cost)
        else:
            self.admission.ended(now - sequence.first_run_at)
        if not self._live:
            self._idle.set()

    def apply(self, policy: GeneratePolicy) -> None:
        """Take over what may change while running: `schedule`, `admission`, `breaker`."""
        self.admission.policy = policy.admission
        self.breaker.policy = policy.breaker
        self._engine.scheduler.policy = policy.schedule

    @property
    def steps(self) -> StepLog:
        """What the engine did."""
        return self._engine.steps

    # -- state ------------------------------------------------------------------------------------------------

    def card(self) -> ModelCard:
        """See `Generator.card`."""
        return self._card

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """See `Generator.stats`."""
        return self._engine.stats() | {"admission": self.admission.stats(), "breaker": self.breaker.stats()}

    def health(self) -> Mapping[str, object]:
        """See `Generator.health`."""
        state = self.breaker.state
        return {
            "status": "failing" if state == "open" else "ok",
            "breaker": state,
            "running_sequences": len(self._engine.scheduler.running),
            "waiting_sequences": self._engine.scheduler.waiting,
            "engine": self._engine.runner.describe(),
        }

    async def drain(self) -> None:
        """See `Generator.drain`."""
        await self._idle.wait()

    async def close(self) -> None:
        """See `Generator.close`."""
        await asyncio.to_thread(self._engine.close)
