"""Generation by OpenVINO GenAI: its continuous batching, its kernels, its tokenizer and chat template.

model's name -> limits -> template -> tokens -> admission -> breaker -> step thread -> events
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from paceline.base.api import ModelCard
from paceline.base.clock import Clock, monotonic
from paceline.base.errors import (
    DeadlineExceeded,
    EngineError,
    InvalidRequest,
    Overloaded,
)
from paceline.base.generation import GenerateEvent, GenerateRequest, Scored, ScoreRequest
from paceline.flow.breaker import Breaker
from paceline.generate.adapters.openvino_genai.answer import Answer
from paceline.generate.adapters.openvino_genai.choice_text import ChoiceText
from paceline.generate.adapters.openvino_genai.library import Library
from paceline.generate.adapters.openvino_genai.model_file import context_tokens
from paceline.generate.adapters.openvino_genai.prompts import Prompts
from paceline.generate.adapters.openvino_genai.scoring import passes, scored, tokens_of
from paceline.generate.adapters.openvino_genai.settings_of import settings_of
from paceline.generate.adapters.openvino_genai.step_thread import Delta, Sequence, StepThread
from paceline.generate.adapters.served_model import must_be_served
from paceline.generate.policy import GeneratePolicy

RETRY_AFTER_S: Final = 1.0
"""A refused caller's wait: how long sequences will take is the library's secret."""


class OpenVinoGenai:
    """A `Generator`. Belongs to one event loop."""

    @classmethod
    async def open(
        cls,
        model: Path,
        policy: GeneratePolicy,
        breaker: Breaker,
        *,
        name: str = "",
        clock: Clock = monotonic,
    ) -> OpenVinoGenai:
        """Open the model, which takes seconds, in a thread. Raises ConfigError."""
        context = min(context_tokens(model), policy.context_tokens or sys.maxsize)
        library = Library(model, policy)
        pipeline = await asyncio.to_thread(library.open_pipeline)
        prompts = Prompts(pipeline.get_tokenizer(), context)
        return cls(library, pipeline, prompts, policy, breaker, name=name or model.stem, clock=clock)

    def __init__(  # noqa: PLR0913 - its parts, made by `open`
        self,
        library: Library,
        pipeline: Any,
        prompts: Prompts,
        policy: GeneratePolicy,
        breaker: Breaker,
        *,
        name: str,
        clock: Clock,
    ) -> None:
        """`pipeline` is one of `library`'s; its tokenizer is in `prompts`."""
        self.name = name
        self.breaker = breaker
        self._library = library
        self._prompts = prompts
        self._policy = policy
        self._clock = clock
        defaults = pipeline.get_config()
        self._ends = frozenset({*defaults.stop_token_ids, defaults.eos_token_id} - {-1})
        self._created = int(time.time())
        self._whose: dict[Sequence, Answer] = {}
        """Sequences in the library."""
        self._idle = asyncio.Event()
        self._idle.set()
        self.requests_total = self.refused_total = self.prompt_tokens_total = self.completion_tokens_total = 0
        self._loop = asyncio.get_running_loop()
        self._steps = StepThread(self._library.open_pipeline, pipeline, self._deliver)

    async def start(self, request: GenerateRequest, *, deadline_at: float) -> Answer:
        """See `Generator.start`."""
        must_be_served(request.model, self.name)
        settings = settings_of(request, ends=self._ends)
        prompt = self._prompts.context.fitted(
            await self._prompts.tokens(request.prompt),
            max_tokens=request.max_tokens,
            truncate=request.truncate,
        )
        max_tokens = self._prompts.context.room(len(prompt), request.max_tokens)
        answer = self._answer(len(prompt), deadline_at)
        texts = [ChoiceText(index, self._prompts.text, request.stop) for index in range(request.n)]
        if request.echo:
            for index in range(request.n):
                answer.say(GenerateEvent(index, self._prompts.text(prompt), tuple(prompt)))
        ends = self._ends | frozenset(request.stop_token_ids)
        sequences = [
            self._sequence(
                prompt,
                {**one, "max_new_tokens": max_tokens},
                text,
                ends=ends,
                logprobs=request.logprobs is not None,
            )
            for one, text in zip(settings, texts, strict=True)
        ]
        self._submit(dict.fromkeys(sequences, answer), deadline_at)
        return answer

    async def score(self, request: ScoreRequest, *, deadline_at: float) -> list[Scored]:
        """See `Generator.score`; one more pass than continuations, a greedy one that tells whether they are likeliest."""
        must_be_served(request.model, self.name)
        if self._policy.kv.prefix_cache:
            raise InvalidRequest(
                "openvino-genai keeps no log-probabilities of prompts that it reuses; set "
                "generate.kv.prefix_cache = false to score, or use another engine (generate.engine)"
            )
        context, tails = await tokens_of(request, self._prompts)
        answers = {
            self._sequence(one.prompt, one.settings, ChoiceText(0, self._prompts.text, ()), logprobs=one.scored):
            self._answer(len(one.prompt), deadline_at)
            for one in passes(context, tails)
        }  # fmt: skip
        self._submit(answers, deadline_at)
        try:
            likeliest, *told = [
                [event async for events in one for event in events] for one in answers.values()
            ]
        finally:
            for answer in answers.values():
                await answer.aclose()
        return [scored(tail, events, likeliest) for tail, events in zip(tails, told, strict=True)]

    # -- to the library ---------------------------------------------------------------------------------------

    def _sequence(
        self,
        prompt: list[int],
        settings: dict[str, Any],
        text: ChoiceText,
        *,
        ends: frozenset[int] = frozenset(),
        logprobs: bool,
    ) -> Sequence:
        return Sequence(
            self._library.tensor(prompt), self._library.config(settings), text, ends=ends, logprobs=logprobs
        )

    def _answer(self, prompt_tokens: int, deadline_at: float) -> Answer:
        return Answer(
            model=self.name,
            prompt_tokens=prompt_tokens,
            leave=self._forget,
            clock=self._clock,
            deadline_at=deadline_at,
        )

    def _submit(self, answers: dict[Sequence, Answer], deadline_at: float) -> None:
        """Admit all of them, or none."""
        if deadline_at <= self._clock():
            raise DeadlineExceeded("the deadline passed before the request could begin; allow more time")
        running, waiting = self._policy.schedule.max_sequences, self._policy.admission.max_waiting
        under_way = len(self._whose)
        if under_way and under_way + len(answers) > running + waiting:
            self.refused_total += 1
            raise Overloaded(
                f"{under_way} sequences run or wait, and {len(answers)} more would pass the limit of {running} "
                f"and {waiting} (generate.schedule.max_sequences, generate.admission.max_waiting); try again",
                retry_after_s=RETRY_AFTER_S,
            )
        distinct = list(dict.fromkeys(answers.values()))
        for answer in distinct:
            answer.ticket = self.breaker.allow()
            self.prompt_tokens_total += answer.usage.prompt_tokens
        self.requests_total += 1
        for sequence, answer in answers.items():
            answer.sequences.append(sequence)
        self._whose |= answers
        self._idle.clear()
        self._steps.submit(list(answers))

    # -- from the library -------------------------------------------------------------------------------------

    def _deliver(self, out: list[tuple[Sequence, Delta]]) -> None:
        """In the step thread."""
        self._loop.call_soon_threadsafe(self._receive, out)

    def _receive(self, out: list[tuple[Sequence, Delta]]) -> None:
        """What one step brought, on the event loop."""
        counted = False
        for sequence, delta in out:
            answer = self._whose.get(sequence)
            if answer is None:
                continue  # its caller has left
            self.completion_tokens_total += delta.tokens
            answer.push(sequence, delta)
            if delta.ended:
                del self._whose[sequence]
            if delta.error is not None and not counted:
                counted = True  # a failed step is one fault, however many sequences were in it
                self._settle(answer, self.breaker.record_failure)
            elif not answer.sequences:
                self._settle(
                    answer, self.breaker.record_success if delta.error is None else self.breaker.release
                )
        if not self._whose:
            self._idle.set()

    def _forget(self, answer: Answer) -> None:
        """Its caller wants no more of it, or has all of it."""
        self._settle(answer, self.breaker.release)
        sequences, answer.sequences = answer.sequences, []
        if sequences:
            for sequence in sequences:
                del self._whose[sequence]
            self._steps.leave(sequences)
        if not self._whose:
            self._idle.set()

    @staticmethod
    def _settle(answer: Answer, tell: Callable[[int], None]) -> None:
        """Hand the breaker's ticket back, once."""
        ticket, answer.ticket = answer.ticket, None
        if ticket is not None:
            tell(ticket)

    # -- state ------------------------------------------------------------------------------------------------

    def apply(self, policy: GeneratePolicy) -> None:
        """Take over what may change while running: `admission`, `breaker`."""
        self._policy = policy
        self.breaker.policy = policy.breaker

    def card(self) -> ModelCard:
        """See `Generator.card`."""
        return ModelCard(
            id=self.name,
            created=self._created,
            task="generate",
            max_tokens=self._prompts.context.tokens,
            engine="openvino-genai",
        )

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """See `Generator.stats`."""
        return {
            "openvino_genai": {
                "requests_total": self.requests_total,
                "refused_total": self.refused_total,
                "sequences": len(self._whose),
                "prompt_tokens_total": self.prompt_tokens_total,
                "completion_tokens_total": self.completion_tokens_total,
                "steps_total": self._steps.steps_total,
                "failed_steps_total": self._steps.failed_steps_total,
            },
            "breaker": self.breaker.stats(),
        }

    def health(self) -> Mapping[str, object]:
        """See `Generator.health`."""
        state = self.breaker.state
        return {
            "status": "failing" if state == "open" else "ok",
            "breaker": state,
            "engine": "openvino-genai",
        }

    async def drain(self) -> None:
        """See `Generator.drain`."""
        await self._idle.wait()

    async def close(self) -> None:
        """See `Generator.close`."""
        await asyncio.to_thread(self._steps.close)
        closed = Delta([], ended=True, error=EngineError("the server is closing; try another one"))
        for sequence, answer in list(self._whose.items()):
            answer.push(sequence, closed)
        self._whose.clear()
        self._idle.set()
