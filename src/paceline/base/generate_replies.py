"""Wire structs of the generation routes: what is answered. Frozen; clients decode into them, OpenAPI describes them.

The server writes the same shapes from prepared bytes (`serve/generate_encode.py`); a test holds the two together.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from paceline.base.generation import FinishReason


class PromptDetails(msgspec.Struct, frozen=True, gc=False):
    """More about the tokens of a prompt."""

    cached_tokens: int = 0


class TokenUsage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one call, all choices together."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails = PromptDetails()


class CompletionLogprobs(msgspec.Struct, frozen=True):
    """Of a completion's tokens, one entry each in every list."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]
    """Where the token begins, in characters of the choice's text."""


class CompletionChoice(msgspec.Struct, frozen=True):
    """One answer, or in a stream a piece of one."""

    index: int
    text: str
    finish_reason: FinishReason | None = None
    logprobs: CompletionLogprobs | None = None


class CompletionReply(msgspec.Struct, frozen=True):
    """Reply of `POST /v1/completions`, and each chunk of its stream."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: TokenUsage | None = None


class TopToken(msgspec.Struct, frozen=True):
    """A token that might have stood here."""

    token: str
    logprob: float
    bytes: list[int] | None = None


class ChatToken(msgspec.Struct, frozen=True):
    """A token of the answer, and what else was likely."""

    token: str
    logprob: float
    top_logprobs: list[TopToken] = []
    bytes: list[int] | None = None


class ChatLogprobs(msgspec.Struct, frozen=True):
    """Of an answer's tokens."""

    content: list[ChatToken] | None = None


class RepliedFunction(msgspec.Struct, frozen=True):
    """What to call."""

    name: str
    arguments: str
    """A JSON object, as text."""


class RepliedToolCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call that the model asks for."""

    id: str
    type: Literal["function"]
    function: RepliedFunction
    index: int | None = None
    """Place among the calls, in a stream."""


class ReplyMessage(msgspec.Struct, frozen=True):
    """The assistant's turn, or in a stream what is new of it."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: list[RepliedToolCall] | None = None


class ChatChoice(msgspec.Struct, frozen=True):
    """One answer."""

    index: int
    message: ReplyMessage
    finish_reason: FinishReason | None = None
    logprobs: ChatLogprobs | None = None


class ChatReply(msgspec.Struct, frozen=True):
    """Reply of `POST /v1/chat/completions`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TokenUsage


class ChatChunkChoice(msgspec.Struct, frozen=True):
    """A piece of one answer."""

    index: int
    delta: ReplyMessage
    finish_reason: FinishReason | None = None
    logprobs: ChatLogprobs | None = None


class ChatChunk(msgspec.Struct, frozen=True):
    """Each event of a stream of `POST /v1/chat/completions`."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: TokenUsage | None = None


class InferenceReply(msgspec.Struct, frozen=True):
    """Reply of `POST /v1/inference` and of `/v1/infer` with `task: generate`."""

    id: str
    object: Literal["inference"]
    created: int
    model: str
    text: str
    finish_reason: FinishReason
    usage: TokenUsage


class InferenceChunk(msgspec.Struct, frozen=True):
    """Each event of a stream of `POST /v1/inference`."""

    id: str
    object: Literal["inference.chunk"]
    created: int
    model: str
    text: str
    finish_reason: FinishReason | None = None
    usage: TokenUsage | None = None


class Score(msgspec.Struct, frozen=True):
    """One scored text."""

    index: int
    logprob: float
    """Sum over its tokens, natural logarithm."""
    tokens: list[int]
    token_logprobs: list[float | None]
    """None for the first token of a prompt, which nothing precedes."""
    greedy: bool
    """Whether each token was the likeliest one."""


class ScoreReply(msgspec.Struct, frozen=True):
    """Reply of `POST /v1/score`, in the order of the continuations."""

    model: str
    data: list[Score]
    object: Literal["list"] = "list"
