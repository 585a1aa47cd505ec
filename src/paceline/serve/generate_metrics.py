"""What the server counts of generated text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import get_args

from paceline.base.generation import FinishReason, GenerateEvent, Generation, Usage
from paceline.base.timings import Tier
from paceline.serve.metrics import Metrics


class GenerateMetrics:
    """The instruments of all generation routes of one process."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self.whole = metrics
        self.ttft = registry.histogram(
            "paceline_generate_ttft_seconds", "From the head of the request to the first token of its answer."
        )
        self.inter_token = registry.histogram(
            "paceline_generate_inter_token_seconds",
            "Between one piece of an answer and the next, most often a token.",
        )
        self.e2e = registry.histogram(
            "paceline_generate_e2e_seconds", "From the head of the request to the end of its answer."
        )
        self.prompt = registry.counter(
            "paceline_generate_prompt_tokens_total", "Tokens of prompts, cached ones too."
        )
        self.completion = registry.counter(
            "paceline_generate_completion_tokens_total", "Tokens of answers, broken off ones too."
        )
        self.cached = registry.counter(
            "paceline_generate_cached_tokens_total", "Tokens of prompts that did not have to be computed."
        )
        self.finished = {
            reason: registry.counter(
                "paceline_generate_finished_total", "Answers by the reason why they ended.", reason=reason
            )
            for reason in get_args(FinishReason)
        }
        self.left = registry.counter(
            "paceline_generate_finished_total", "Answers by the reason why they ended.", reason="abandoned"
        )
        self.streaming = registry.gauge("paceline_generate_streaming", "Streams under way.")


class Course:
    """How one call went: told to the metrics as it goes."""

    __slots__ = ("_last_at", "_metrics", "_open", "_started_at", "ttft_s", "usage")

    def __init__(self, metrics: GenerateMetrics, started_at: float, generations: int, choices: int) -> None:
        self._metrics = metrics
        self._started_at = started_at
        self._last_at = [0.0] * generations
        """When each generation last told something; 0 before."""
        self._open = choices
        self.ttft_s: float | None = None
        self.usage = Usage()
        """Of all generations together, once the call is over."""

    def came(self, place: int, events: Sequence[GenerateEvent]) -> None:
        """Generation `place` of the call told `events`."""
        now = time.monotonic()
        before = self._last_at[place]
        self._last_at[place] = now
        if before:
            self._metrics.inter_token.record(now - before)
        else:
            since_s = now - self._started_at
            self._metrics.ttft.record(since_s)
            if self.ttft_s is None:
                self.ttft_s = since_s
        for event in events:
            if event.finish_reason is not None:
                self._metrics.finished[event.finish_reason].value += 1
                self._open -= 1

    def over(self, generations: Sequence[Generation]) -> Tier:
        """The call ended, well or not: count the tokens, and say which cache tier was needed."""
        metrics, usage = self._metrics, self.usage
        tier: Tier = "miss"
        for generation in generations:
            tier = generation.timings.cache
            usage.prompt_tokens += generation.usage.prompt_tokens
            usage.completion_tokens += generation.usage.completion_tokens
            usage.cached_tokens += generation.usage.cached_tokens
        metrics.prompt.value += usage.prompt_tokens
        metrics.completion.value += usage.completion_tokens
        metrics.cached.value += usage.cached_tokens
        metrics.left.value += self._open
        metrics.whole.generated(usage.prompt_tokens + usage.completion_tokens, tier)
        if not self._open:
            metrics.e2e.record(time.monotonic() - self._started_at)
        return tier
