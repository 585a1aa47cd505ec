"""Replies of the generation routes as bytes: one form for each route, told whole or piece by piece.

A piece of plain text is prepared bytes around one `orjson` call; log-probabilities and tool calls, which are rare,
go through the wire structs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
import orjson

from paceline.base.generate_replies import (
    ChatChoice,
    ChatLogprobs,
    ChatReply,
    ChatToken,
    CompletionChoice,
    CompletionLogprobs,
    CompletionReply,
    InferenceReply,
    PromptDetails,
    RepliedToolCall,
    ReplyMessage,
    TokenUsage,
    TopToken,
)
from paceline.base.generation import FinishReason, GenerateEvent, TokenLogprob, Usage
from paceline.serve.generate_decode import Asked
from paceline.serve.sse import BEGIN, DONE, END
from paceline.serve.tool_calls import ToolCalls

LEAST_LOGPROB = -9999.0
"""Said for minus infinity, which JSON does not have."""

_json = msgspec.json.Encoder().encode
_text = orjson.dumps


class Choice:
    """One answer, gathered."""

    __slots__ = ("finish_reason", "logprobs", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.finish_reason: FinishReason | None = None

    def add(self, event: GenerateEvent) -> None:
        """Take a piece."""
        self.texts.append(event.text)
        self.logprobs += event.logprobs
        if event.finish_reason is not None:
            self.finish_reason = event.finish_reason


class Form(Protocol):
    """How a route tells its answers. Made for one call; it remembers what it has told."""

    def opening(self) -> bytes:
        """What a stream begins with."""

    def piece(self, index: int, event: GenerateEvent) -> bytes:
        """One event of choice `index` of the call; empty when there is nothing to tell."""

    def closing(self, usage: Usage) -> bytes:
        """What a stream ends with."""

    def whole(self, choices: Sequence[Choice], usage: Usage) -> bytes:
        """The reply that is no stream."""


class _Frame:
    """The beginning and the end that all chunks of one call have in common."""

    __slots__ = ("_asked", "begin", "created", "end", "id", "model")

    def __init__(self, kind: str, name: str, model: str, created: int, asked: Asked) -> None:
        self.id, self.model, self.created, self._asked = name, model, created, asked
        told = {"id": name, "object": kind, "created": created, "model": model}
        self.begin = b"%b%b," % (BEGIN, orjson.dumps(told)[:-1])
        self.end = (b',"usage":null}' if asked.include_usage else b"}") + END

    def closing(self, empty: bytes, usage: Usage) -> bytes:
        """The chunk with the tokens used if it was asked for, around `empty`, and the end."""
        if not self._asked.include_usage:
            return DONE
        return b'%b%b,"usage":%b}%b%b' % (self.begin, empty, _json(_usage(usage)), END, DONE)


class CompletionForm:
    """Of `/v1/completions`."""

    def __init__(self, request_id: str, model: str, created: int, asked: Asked) -> None:
        self._frame = _Frame("text_completion", f"cmpl-{request_id}", model, created, asked)
        self._wants_logprobs = asked.requests[0].logprobs is not None
        self._told = [0] * asked.choices
        """Characters of each choice that were told."""

    def opening(self) -> bytes:
        """See Form."""
        return b""

    def piece(self, index: int, event: GenerateEvent) -> bytes:
        """See Form."""
        frame, reason = self._frame, event.finish_reason
        if not event.text and reason is None and not event.logprobs:
            return b""
        logprobs = b"null"
        if self._wants_logprobs:
            logprobs = _json(_completion_logprobs(event.logprobs, self._told[index]))
            self._told[index] += sum(len(token.text) for token in event.logprobs)
        return b'%b"choices":[{"index":%d,"text":%b,"logprobs":%b,"finish_reason":%b}]%b' % (
            frame.begin,
            index,
            _text(event.text),
            logprobs,
            b"null" if reason is None else b'"%b"' % reason.encode(),
            frame.end,
        )

    def closing(self, usage: Usage) -> bytes:
        """See Form."""
        return self._frame.closing(b'"choices":[]', usage)

    def whole(self, choices: Sequence[Choice], usage: Usage) -> bytes:
        """See Form."""
        frame = self._frame
        return _json(
            CompletionReply(
                id=frame.id,
                object="text_completion",
                created=frame.created,
                model=frame.model,
                choices=[
                    CompletionChoice(
                        index=index,
                        text="".join(choice.texts),
                        finish_reason=choice.finish_reason,
                        logprobs=_completion_logprobs(choice.logprobs, 0) if self._wants_logprobs else None,
                    )
                    for index, choice in enumerate(choices)
                ],
                usage=_usage(usage),
            )
        )


class ChatForm:
    """Of `/v1/chat/completions`."""

    def __init__(self, request_id: str, model: str, created: int, asked: Asked) -> None:
        self._frame = _Frame("chat.completion.chunk", f"chatcmpl-{request_id}", model, created, asked)
        self._wants_logprobs = asked.requests[0].logprobs is not None
        self._tools = [ToolCalls() for _ in range(asked.choices)] if asked.tools else None
        self._choices = asked.choices

    def opening(self) -> bytes:
        """See Form."""
        return b"".join(
            b'%b"choices":[{"index":%d,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]%b'
            % (self._frame.begin, index, self._frame.end)
            for index in range(self._choices)
        )

    def piece(self, index: int, event: GenerateEvent) -> bytes:
        """See Form."""
        frame, text, reason = self._frame, event.text, event.finish_reason
        calls: list[RepliedToolCall] = []
        if self._tools is not None:
            reader = self._tools[index]
            text, calls = reader.feed(text, last=reason is not None)
            reason = _reason(reason, reader)
        if not text and not calls and reason is None and not event.logprobs:
            return b""
        delta = b'"content":%b' % _text(text) if text or event.logprobs else b""
        if calls:
            delta += b'%b"tool_calls":%b' % (b"," if delta else b"", _json(calls))
        return b'%b"choices":[{"index":%d,"delta":{%b},"logprobs":%b,"finish_reason":%b}]%b' % (
            frame.begin,
            index,
            delta,
            _json(_chat_logprobs(event.logprobs)) if self._wants_logprobs and event.logprobs else b"null",
            b"null" if reason is None else b'"%b"' % reason.encode(),
            frame.end,
        )

    def closing(self, usage: Usage) -> bytes:
        """See Form."""
        return self._frame.closing(b'"choices":[]', usage)

    def whole(self, choices: Sequence[Choice], usage: Usage) -> bytes:
        """See Form."""
        frame = self._frame
        return _json(
            ChatReply(
                id=frame.id,
                object="chat.completion",
                created=frame.created,
                model=frame.model,
                choices=[self._choice(index, choice) for index, choice in enumerate(choices)],
                usage=_usage(usage),
            )
        )

    def _choice(self, index: int, choice: Choice) -> ChatChoice:
        content: str | None = "".join(choice.texts)
        reason, calls = choice.finish_reason, None
        if self._tools is not None and content:
            reader = self._tools[index]
            text, found = reader.feed(content, last=True)
            reason = _reason(reason, reader)
            if found:
                content, calls = text or None, [msgspec.structs.replace(call, index=None) for call in found]
        return ChatChoice(
            index=index,
            message=ReplyMessage(role="assistant", content=content, tool_calls=calls),
            finish_reason=reason,
            logprobs=_chat_logprobs(choice.logprobs) if self._wants_logprobs else None,
        )


class InferenceForm:
    """Of `/v1/inference`, and of `/v1/infer` for `task: generate`."""

    def __init__(self, request_id: str, model: str, created: int, asked: Asked) -> None:
        self._frame = _Frame("inference.chunk", f"inf-{request_id}", model, created, asked)

    def opening(self) -> bytes:
        """See Form."""
        return b""

    def piece(self, index: int, event: GenerateEvent) -> bytes:  # noqa: ARG002 - there is one choice
        """See Form."""
        reason = event.finish_reason
        if not event.text and reason is None:
            return b""
        return b'%b"text":%b,"finish_reason":%b%b' % (
            self._frame.begin,
            _text(event.text),
            b"null" if reason is None else b'"%b"' % reason.encode(),
            self._frame.end,
        )

    def closing(self, usage: Usage) -> bytes:
        """See Form."""
        return self._frame.closing(b'"text":"","finish_reason":null', usage)

    def whole(self, choices: Sequence[Choice], usage: Usage) -> bytes:
        """See Form."""
        (choice,) = choices
        assert choice.finish_reason is not None
        frame = self._frame
        return _json(
            InferenceReply(
                id=frame.id,
                object="inference",
                created=frame.created,
                model=frame.model,
                text="".join(choice.texts),
                finish_reason=choice.finish_reason,
                usage=_usage(usage),
            )
        )


def _reason(reason: FinishReason | None, reader: ToolCalls) -> FinishReason | None:
    return "tool_calls" if reason == "stop" and reader.seen else reason


def _usage(usage: Usage) -> TokenUsage:
    return TokenUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=PromptDetails(usage.cached_tokens),
    )


def _finite(logprob: float) -> float:
    return max(logprob, LEAST_LOGPROB)


def _completion_logprobs(tokens: Sequence[TokenLogprob], offset: int) -> CompletionLogprobs:
    """`offset` is where the first token begins."""
    offsets: list[int] = []
    tops: list[dict[str, float] | None] = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
        if token.logprob is None:
            tops.append(None)
        else:
            told = {text: _finite(logprob) for _, text, logprob in token.top}
            tops.append({**told, token.text: _finite(token.logprob)})
    return CompletionLogprobs(
        tokens=[token.text for token in tokens],
        token_logprobs=[None if token.logprob is None else _finite(token.logprob) for token in tokens],
        top_logprobs=tops,
        text_offset=offsets,
    )


def _chat_logprobs(tokens: Sequence[TokenLogprob]) -> ChatLogprobs:
    return ChatLogprobs(
        [
            ChatToken(
                token=token.text,
                logprob=_finite(0.0 if token.logprob is None else token.logprob),
                bytes=list(token.text.encode()),
                top_logprobs=[
                    TopToken(token=text, logprob=_finite(logprob), bytes=list(text.encode()))
                    for _, text, logprob in token.top
                ],
            )
            for token in tokens
        ]
    )
