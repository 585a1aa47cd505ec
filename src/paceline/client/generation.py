"""Generated text, for both clients: what to send, how an answer or a stream of pieces is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import httpx
import msgspec

from paceline.base.api import Priority, Problem
from paceline.base.errors import PacelineError, Unreachable, error_of_code
from paceline.base.generate_replies import (
    ChatChunk,
    ChatReply,
    CompletionReply,
    RepliedToolCall,
    TokenUsage,
)
from paceline.base.generation import FinishReason
from paceline.base.timings import Timings
from paceline.client.messages import Call, decode, parse_timings

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


class GenerateFields(TypedDict, total=False):
    """How tokens are drawn, and when to stop; the server's OpenAPI description says what each means."""

    model: str
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    seed: int
    logit_bias: Mapping[int, float]
    stop: str | Sequence[str]
    stop_token_ids: Sequence[int]
    ignore_eos: bool
    guided_json: Mapping[str, Any] | str
    guided_regex: str
    guided_choice: Sequence[str]
    guided_grammar: str
    truncate_prompt: bool
    priority: Priority
    n: int


class ChatFields(GenerateFields, total=False):
    """The same for conversations."""

    tools: Sequence[Mapping[str, Any]]
    tool_choice: Literal["none", "auto"]
    response_format: Mapping[str, Any]
    chat_template_kwargs: Mapping[str, Any]


class Answer(msgspec.Struct, frozen=True):
    """One of the answers of a call."""

    text: str
    finish_reason: FinishReason | None
    tool_calls: list[RepliedToolCall] = []


class Generated(msgspec.Struct, frozen=True):
    """The answers of one call, and what the server said about them."""

    answers: list[Answer]
    """In the order of their indices."""
    model: str
    usage: TokenUsage
    timings: Timings
    request_id: str

    @property
    def text(self) -> str:
        """Of the first answer."""
        return self.answers[0].text


class Piece(msgspec.Struct, frozen=True):
    """What a stream told at once."""

    text: str
    index: int = 0
    """Of the answer."""
    finish_reason: FinishReason | None = None
    tool_calls: list[RepliedToolCall] = []
    usage: TokenUsage | None = None
    """With the last piece."""


Messages = str | Sequence[Mapping[str, Any]]


def completion_body(prompt: str | Sequence[int], fields: Mapping[str, Any]) -> dict[str, Any]:
    """What goes to `/v1/completions`."""
    return {"prompt": prompt if isinstance(prompt, str) else [int(token) for token in prompt], **fields}


def chat_body(messages: Messages, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What goes to `/v1/chat/completions`; a text is one turn of the user's."""
    return {
        "messages": [{"role": "user", "content": messages}] if isinstance(messages, str) else messages,
        **fields,
    }


def completion_call(body: Mapping[str, Any]) -> Call[Generated]:
    """Ask for the whole text that goes on with a prompt."""

    def read(response: httpx.Response) -> Generated:
        reply = decode(response, CompletionReply)
        answers = [
            Answer(choice.text, choice.finish_reason)
            for choice in sorted(reply.choices, key=lambda choice: choice.index)
        ]
        return _generated(response, answers, reply.model, reply.usage)

    return Call("POST", COMPLETIONS, read, msgspec.json.encode(body))


def chat_call(body: Mapping[str, Any]) -> Call[Generated]:
    """Ask for the whole next turn of a conversation."""

    def read(response: httpx.Response) -> Generated:
        reply = decode(response, ChatReply)
        answers = [
            Answer(choice.message.content or "", choice.finish_reason, choice.message.tool_calls or [])
            for choice in sorted(reply.choices, key=lambda choice: choice.index)
        ]
        return _generated(response, answers, reply.model, reply.usage)

    return Call("POST", CHAT, read, msgspec.json.encode(body))


def _generated(
    response: httpx.Response, answers: list[Answer], model: str, usage: TokenUsage | None
) -> Generated:
    return Generated(
        answers=answers,
        model=model,
        usage=usage or TokenUsage(0, 0, 0),
        timings=parse_timings(response.headers.get("server-timing", "")),
        request_id=response.headers.get("x-request-id", ""),
    )


class Stream:
    """One stream, line by line: what to send, and what has come of it."""

    def __init__(self, path: str, body: Mapping[str, Any]) -> None:
        self.path = path
        self.content = msgspec.json.encode(
            {**body, "stream": True, "stream_options": {"include_usage": True}}
        )
        self.over = False
        """Whether the server said that this is all."""
        self._failed = False

    def read(self, line: str) -> list[Piece]:
        """The pieces that a line tells. Raises the error that ended the stream."""
        if line == "event: error":
            self._failed = True
        if not line.startswith("data: "):
            return []
        data = line.removeprefix("data: ")
        if data == "[DONE]":
            self.over = True
            return []
        if self._failed:
            raise _failure(data)
        if self.path == CHAT:
            chunk = msgspec.json.decode(data, type=ChatChunk)
            pieces = [
                Piece(
                    choice.delta.content or "",
                    choice.index,
                    choice.finish_reason,
                    choice.delta.tool_calls or [],
                )
                for choice in chunk.choices
            ]
            usage = chunk.usage
        else:
            reply = msgspec.json.decode(data, type=CompletionReply)
            pieces = [Piece(choice.text, choice.index, choice.finish_reason) for choice in reply.choices]
            usage = reply.usage
        return pieces if usage is None else [*pieces, Piece("", usage=usage)]

    def end(self) -> None:
        """Nothing more comes. Raises Unreachable when that was too early."""
        if not self.over:
            raise Unreachable("the stream broke off before its end; the server may have been stopped")


def _failure(data: str) -> PacelineError:
    problem = msgspec.json.decode(data, type=Problem)
    return error_of_code(
        problem.code, problem.detail, param=problem.param, retry_after_s=problem.retry_after_s
    )
