"""What a text generation is, for those who ask (serve) and those who answer (our engine, or another's behind an adapter).

`Generator.start` takes a `GenerateRequest` and gives a `Generation`: refusals are raised there, before the first
byte of a reply; afterwards `Generation` yields events until every choice has a finish reason. Leaving it early
(`aclose`, or cancelling the task) frees what it holds at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from paceline.base.api import ModelCard, Priority
from paceline.base.timings import Timings

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "error"]


class Guide(msgspec.Struct, frozen=True):
    """What guided output must look like."""

    kind: Literal["json_schema", "json", "regex", "grammar", "choice"]
    source: str
    """The schema as JSON text, the regular expression, the grammar (Lark), or a JSON list of choices."""


class Sampling(msgspec.Struct, frozen=True):
    """How the next token is drawn. Ranges are checked where the request is decoded."""

    temperature: float = 1.0
    """0 takes the most likely token."""
    top_k: int = 0
    """0: all."""
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    """Over prompt and output, as Hugging Face defines it."""
    presence_penalty: float = 0.0
    """Over the output, as OpenAI defines it; so is the next."""
    frequency_penalty: float = 0.0
    seed: int | None = None
    """The same seed gives the same text, whatever else is in the batch."""
    logit_bias: Mapping[int, float] = {}
    guide: Guide | None = None


class Chat(msgspec.Struct, frozen=True):
    """A conversation, to be rendered by the model's chat template."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] | None = None
    template_arguments: Mapping[str, Any] = {}


class GenerateRequest(msgspec.Struct, frozen=True):
    """One request in its normal form, whatever route it came by."""

    prompt: str | list[int] | Chat
    model: str | None = None
    max_tokens: int | None = None
    """None: up to the end of the context."""
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    n: int = 1
    echo: bool = False
    """The prompt's text (and logprobs, if asked) come first."""
    logprobs: int | None = None
    """Alternatives shown per token; 0 shows the chosen token's only, None shows nothing."""
    prompt_logprobs: int | None = None
    """The same for the prompt's tokens."""
    truncate: bool = False
    """Keep the prompt's end when it is longer than the context; else it is refused."""
    priority: Priority = "normal"


class TokenLogprob(msgspec.Struct, frozen=True, gc=False):
    """One token with its natural log-probability under the model (before temperature, penalties and guides)."""

    token: int
    text: str
    logprob: float | None
    """None for the first token of a prompt, which nothing precedes."""
    top: tuple[tuple[int, str, float], ...] = ()
    """The likeliest tokens at this place: (id, text, logprob)."""


class GenerateEvent(msgspec.Struct, frozen=True, gc=False):
    """A piece of one choice. Texts joined give the answer; a stop string is never part of it."""

    index: int
    """Of the choice, 0 to n - 1."""
    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    """Said once, with the last event of the choice."""


class Usage(msgspec.Struct, gc=False):
    """Tokens of one request, all choices together."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens whose keys and values were there already."""


class Generation(Protocol):
    """An answer under way."""

    model: str

    @property
    def usage(self) -> Usage:
        """Prompt tokens are known from the start, the rest grows."""

    @property
    def timings(self) -> Timings:
        """Complete after the last event; `cache` says which tier answered."""

    @property
    def prompt_logprobs(self) -> Sequence[TokenLogprob] | None:
        """Known with the first event, when asked for."""

    def __aiter__(self) -> AsyncIterator[list[GenerateEvent]]:
        """What came since the last look, never an empty list. Raises EngineError, DeadlineExceeded."""

    async def aclose(self) -> None:
        """Stop generating and free what it holds; harmless afterwards."""


class Generator(Protocol):
    """Anything that generates text: our engine's service, or an adapter."""

    name: str

    async def start(self, request: GenerateRequest, *, deadline_at: float) -> Generation:
        """Admit and begin; `deadline_at` is an instant of `time.monotonic`.

        Raises InvalidRequest, PayloadTooLarge, NotFound, Overloaded, CircuitOpen, DeadlineExceeded.
        """

    async def score(self, request: ScoreRequest, *, deadline_at: float) -> list[Scored]:
        """Log-probability of each continuation after the context; raises what `start` raises."""

    def card(self) -> ModelCard:
        """The entry of `/v1/models`."""

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """Counters by area, for the metrics page."""

    def health(self) -> Mapping[str, object]:
        """State for `/health`; `status` is `ok`, `failing` or `starting`."""

    async def drain(self) -> None:
        """Return when nothing is queued or running."""

    async def close(self) -> None:
        """Stop; what is under way fails."""


class ScoreRequest(msgspec.Struct, frozen=True):
    """Which of several continuations is likelier: exact log-probabilities, no sampling."""

    context: str | list[int]
    continuations: tuple[str | list[int], ...]
    model: str | None = None
    priority: Priority = "normal"


class Scored(msgspec.Struct, frozen=True):
    """One continuation's exact score."""

    logprob: float
    """Sum over its tokens, natural logarithm."""
    tokens: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    greedy: bool
    """Whether each token was the likeliest one."""
