"""A generator whose tokens are letters: it answers with the prompt's words in capitals, and does as tests tell it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

from paceline.base.api import ModelCard
from paceline.base.errors import EngineError, InvalidRequest, PayloadTooLarge, Rejected
from paceline.base.generation import (
    Chat,
    GenerateEvent,
    GenerateRequest,
    Scored,
    ScoreRequest,
    TokenLogprob,
    Usage,
)
from paceline.base.timings import Timings

CONTEXT = 4096
LOGPROB = -0.125


def told(letter: str, alternatives: int | None) -> tuple[TokenLogprob, ...]:
    """The log-probability of a letter, and of the letters behind it in the alphabet as alternatives."""
    if alternatives is None:
        return ()
    top = tuple((ord(letter) + k, chr(ord(letter) + k), LOGPROB * (k + 1)) for k in range(alternatives))
    return (TokenLogprob(ord(letter), letter, LOGPROB, top),)


class LetterGeneration:
    """One answer under way, a letter an event."""

    def __init__(self, generator: LetterGenerator, request: GenerateRequest, prompt: str) -> None:
        self.model = generator.name
        self.usage = Usage(prompt_tokens=len(prompt), cached_tokens=generator.cached)
        self.timings = Timings(cache=generator.tier, queue_s=0.002, run_s=0.003, total_s=0.005, batch_rows=1)
        self.prompt_logprobs = None
        self._generator, self._request, self._prompt = generator, request, prompt
        self._open = True

    def __aiter__(self) -> AsyncIterator[list[GenerateEvent]]:
        return self._events()

    async def aclose(self) -> None:
        if self._open:
            self._generator.abandoned += 1
            self._generator.left.set()
        self._open = False

    async def _events(self) -> AsyncIterator[list[GenerateEvent]]:
        request, generator = self._request, self._generator
        if request.prompt_logprobs is not None:
            marks = [mark for letter in self._prompt for mark in told(letter, request.prompt_logprobs)]
            first = marks[0]
            self.prompt_logprobs = [TokenLogprob(first.token, first.text, None), *marks[1:]]
        if request.echo:
            marks = tuple(self.prompt_logprobs or ())
            yield [GenerateEvent(index, self._prompt, (), marks) for index in range(request.n)]
        texts = [generator.text(request, self._prompt, index) for index in range(request.n)]
        for place in range(max(len(text) for text, _ in texts)):
            if generator.steps is not None:
                await generator.steps.acquire()
            if generator.fails_after is not None and place >= generator.fails_after:
                raise EngineError("the letters ran out; try again")
            events = [
                self._event(index, text[place], reason if place + 1 == len(text) else None)
                for index, (text, reason) in enumerate(texts)
                if place < len(text)
            ]
            self.usage.completion_tokens += len(events)
            generator.longest = max(generator.longest, place + 1)
            if place + 1 == max(len(text) for text, _ in texts):
                self._open = False
            yield events

    def _event(self, index: int, letter: str, reason: Any) -> GenerateEvent:
        return GenerateEvent(index, letter, (ord(letter),), told(letter, self._request.logprobs), reason)


class LetterGenerator:
    """A real service whose model is the alphabet."""

    name = "letters"

    def __init__(self) -> None:
        self.answer: str | None = None
        """Said instead of the prompt's words."""
        self.refusal: Exception | None = None
        self.fails_after: int | None = None
        """Letters after which the engine fails."""
        self.steps: asyncio.Semaphore | None = None
        """Each letter takes one, if given."""
        self.entered = asyncio.Event()
        self.left = asyncio.Event()
        self.abandoned = self.cached = self.longest = 0
        self.tier: Any = "miss"
        self.requests: list[GenerateRequest] = []
        self.deadline_at = 0.0
        self.status = "ok"

    async def start(self, request: GenerateRequest, *, deadline_at: float) -> LetterGeneration:
        self.loop = asyncio.get_running_loop()
        self.requests.append(request)
        self.deadline_at = deadline_at
        if self.refusal is not None:
            raise self.refusal
        self._check(request)
        prompt = self._prompt(request)
        self.entered.set()
        return LetterGeneration(self, request, prompt)

    def let(self, letters: int) -> None:
        """Allow so many more `steps`; from any thread."""
        for _ in range(letters):
            self.loop.call_soon_threadsafe(self.steps.release)

    def text(self, request: GenerateRequest, prompt: str, index: int) -> tuple[str, str]:
        """What choice `index` says, and why it ends."""
        words = prompt.upper().split() or ["?"]
        text = self.answer or " ".join(words[index % len(words) :] + words[: index % len(words)])
        guide = request.sampling.guide
        if guide is not None:
            text = json.loads(guide.source)[0] if guide.kind == "choice" else "{}"
        if request.ignore_eos:
            text = text * ((request.max_tokens or CONTEXT) // len(text) + 1)
        reason = "stop"
        limit = request.max_tokens or CONTEXT - len(prompt)
        if len(text) > limit:
            text, reason = text[:limit], "length"
        for stop in request.stop:
            if stop in text:
                text, reason = text.partition(stop)[0], "stop"
        return text or "?", reason

    async def score(self, request: ScoreRequest, *, deadline_at: float) -> list[Scored]:
        if self.refusal is not None:
            raise self.refusal
        return [
            Scored(LOGPROB * len(tokens), tuple(tokens), (LOGPROB,) * len(tokens), greedy=index == 0)
            for index, tokens in enumerate(
                [ord(letter) for letter in text] if isinstance(text, str) else text
                for text in request.continuations
            )
        ]

    def _prompt(self, request: GenerateRequest) -> str:
        if isinstance(request.prompt, Chat):
            prompt = str(request.prompt.messages[-1]["content"])
        elif isinstance(request.prompt, str):
            prompt = request.prompt
        else:
            prompt = "".join(chr(97 + token % 26) for token in request.prompt)
        if len(prompt) >= CONTEXT and request.truncate:
            prompt = prompt[-CONTEXT // 2 :]
        if len(prompt) >= CONTEXT:
            raise PayloadTooLarge(
                f"the prompt has {len(prompt)} tokens, the context is {CONTEXT}; shorten it or send truncate_prompt",
                param="prompt",
            )
        return prompt

    def _check(self, request: GenerateRequest) -> None:
        guide = request.sampling.guide
        if guide is not None and guide.kind == "regex":
            try:
                re.compile(guide.source)
            except re.error as error:
                raise InvalidRequest(f"the expression is wrong: {error}", param="guide") from error
        elif guide is not None and guide.kind == "json_schema":
            kind = json.loads(guide.source).get("type", "object")
            if kind not in {"object", "array", "string", "number", "boolean"}:
                raise InvalidRequest(f"no type of JSON is called {kind!r}", param="guide")

    def card(self) -> ModelCard:
        return ModelCard(id=self.name, created=1, task="generate", max_tokens=CONTEXT, engine="letters")

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        return {"scheduler": {"waiting": 0, "steps_total": len(self.requests)}}

    def health(self) -> Mapping[str, object]:
        return {"status": self.status}

    async def drain(self) -> None:
        """Nothing is ever queued."""

    async def close(self) -> None:
        """There is nothing to close."""


__all__ = ["CONTEXT", "LOGPROB", "LetterGenerator", "Rejected"]
