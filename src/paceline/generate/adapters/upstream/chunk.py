"""One event of an upstream's stream, and what it tells us. A whole reply (no stream) has the same shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from paceline.base.errors import EngineError
from paceline.base.generation import FinishReason, GenerateEvent, TokenLogprob, Usage

UNKNOWN_TOKEN: Final = -1
"""The id of a token of which the upstream tells only the text."""

_FINISH: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    index: int = 0
    function: _Function | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Alternative(msgspec.Struct):
    token: str
    logprob: float


class _Chosen(_Alternative):
    top_logprobs: list[_Alternative] = []


class Logprobs(msgspec.Struct):
    """Of a chat (`content`) or of a completion (the others)."""

    content: list[_Chosen] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None

    def told(self) -> tuple[TokenLogprob, ...]:
        """In our form."""
        if self.content:
            return tuple(
                TokenLogprob(
                    UNKNOWN_TOKEN,
                    one.token,
                    one.logprob,
                    tuple((UNKNOWN_TOKEN, other.token, other.logprob) for other in one.top_logprobs),
                )
                for one in self.content
            )
        tokens, logprobs = self.tokens or [], self.token_logprobs or []
        tops = self.top_logprobs or [None] * len(tokens)
        return tuple(
            TokenLogprob(UNKNOWN_TOKEN, token, logprob, _likeliest_first(top or {}))
            for token, logprob, top in zip(tokens, logprobs, tops, strict=False)
        )


class Choice(msgspec.Struct):
    """A piece of one choice."""

    index: int = 0
    text: str | None = None
    delta: _Message | None = None
    message: _Message | None = None
    logprobs: Logprobs | None = None
    token_ids: list[int] | None = None
    """vLLM tells them where it was asked to."""
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: _PromptDetails | None = None


class Chunk(msgspec.Struct):
    """The whole event."""

    choices: list[Choice] = []
    usage: _Usage | None = None


class ToolCalls:
    """Calls of one choice, gathered until it is finished; a model writes them as text, and so does our event."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, str]] = {}

    def add(self, pieces: list[_ToolCall]) -> None:
        """Take what an event brought: names come whole, arguments in pieces."""
        for piece in pieces:
            call = self._calls.setdefault(piece.index, {"name": "", "arguments": ""})
            if piece.function is not None:
                call["name"] += piece.function.name or ""
                call["arguments"] += piece.function.arguments or ""

    def text(self) -> str:
        """Each call as `<tool_call>{"name": ..., "arguments": ...}</tool_call>`, the form of Hermes and Qwen."""
        return "".join(f"<tool_call>\n{_call_text(call)}\n</tool_call>" for call in self._calls.values())


def chunk_of(payload: bytes) -> Chunk:
    """Decode an event. Raises EngineError where it is not OpenAI's."""
    try:
        return msgspec.json.decode(payload, type=Chunk)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EngineError(
            f"the upstream sent an event that is not OpenAI's ({error}); check generate.upstream.url"
        ) from error


def event_of(choice: Choice, calls: dict[int, ToolCalls]) -> GenerateEvent | None:
    """What a piece brought; `calls` keeps the tool calls of each choice. None when there was nothing to tell."""
    said = choice.delta or choice.message or _Message()
    text = choice.text or said.content or said.refusal or ""
    if said.tool_calls:
        calls.setdefault(choice.index, ToolCalls()).add(said.tool_calls)
    finish: FinishReason | None = None
    if choice.finish_reason is not None:
        finish = _FINISH.get(choice.finish_reason, "error")
        if choice.index in calls:
            text += calls.pop(choice.index).text()
    logprobs = choice.logprobs.told() if choice.logprobs else ()
    if not text and not logprobs and finish is None and not choice.token_ids:
        return None
    return GenerateEvent(choice.index, text, tuple(choice.token_ids or ()), logprobs, finish)


def count(usage: Usage, told: _Usage) -> None:
    """Put the upstream's counts into ours."""
    usage.prompt_tokens = told.prompt_tokens
    usage.completion_tokens = told.completion_tokens or 0
    if told.prompt_tokens_details is not None:
        usage.cached_tokens = told.prompt_tokens_details.cached_tokens or 0


def _likeliest_first(top: dict[str, float]) -> tuple[tuple[int, str, float], ...]:
    ranked = sorted(top.items(), key=lambda item: -item[1])
    return tuple((UNKNOWN_TOKEN, text, logprob) for text, logprob in ranked)


def _call_text(call: dict[str, str]) -> str:
    arguments: Any = call["arguments"]
    try:
        msgspec.json.decode(arguments)
        arguments = msgspec.Raw(arguments.encode())
    except msgspec.MsgspecError:
        pass  # cut short by max_tokens: shown as the string it is
    return msgspec.json.encode({"name": call["name"], "arguments": arguments}).decode()
