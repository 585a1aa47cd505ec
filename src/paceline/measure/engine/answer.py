"""Reading answers when there is time for it: tokens and their moments, the server's usage, cache hits, JSON.

Nothing here runs while a request is due. What is read is what the records keep; the bytes are dropped.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from itertools import accumulate
from typing import Any, Literal

import httptools
import msgspec

from paceline.measure.engine.connection import Chunks
from paceline.measure.failure import Failure
from paceline.measure.records.record import Tier

Reading = Literal["none", "tier", "json", "stream"]
"""How much of an answer is read: nothing, its head, its usage, or every event."""

_CACHE = re.compile(rb'\r\nserver-timing:[^\r]*\bcache;desc="?([a-z0-9]+)', re.IGNORECASE)
_MISSES = {b"miss", b"bypass"}


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


class _Delta(msgspec.Struct):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: Any = None
    refusal: Any = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_event = msgspec.json.Decoder(_Event).decode


class Content(msgspec.Struct):
    """What one answer said."""

    failure: Failure = Failure.NONE
    prompt_tokens: int = -1
    completion_tokens: int = -1
    token_events: int = 0
    tier: Tier = Tier.UNKNOWN
    token_times_ns: array[int] | None = None
    """When each event that carried text came, on the clock of the chunks."""


class _Body:
    """Takes an answer apart: its body's pieces, and in which chunk each came."""

    def __init__(self, chunks: Chunks) -> None:
        self.pieces: list[bytes] = []
        self.times_ns: list[int] = []
        self._now_ns = 0
        parser = httptools.HttpResponseParser(self)
        for self._now_ns, data in chunks:
            try:
                parser.feed_data(data)
            except httptools.HttpParserError:
                break  # the framing has judged it; what was excess is nobody's answer

    def on_body(self, piece: bytes) -> None:
        """Called by llhttp."""
        self.pieces.append(piece)
        self.times_ns.append(self._now_ns)


def read_answer(chunks: Chunks, reading: Reading) -> Content:
    """Read a whole answer with a good status; what is not what it should be is a failure, never an exception."""
    if reading == "stream":
        return _stream(_Body(chunks))
    content = Content(tier=_tier(chunks[0][1]))
    if reading == "json":
        try:
            usage = _decode_answer(b"".join(_Body(chunks).pieces)).usage
        except (msgspec.DecodeError, UnicodeDecodeError):
            content.failure = Failure.NOT_JSON
            return content
        _count(content, usage)
    return content


def _tier(head: bytes) -> Tier:
    found = _CACHE.search(head)
    if found is None:
        return Tier.UNKNOWN
    return Tier.MISS if found[1] in _MISSES else Tier.HIT


def _count(content: Content, usage: _Usage | None) -> None:
    if usage is None:
        return
    if usage.prompt_tokens is not None:
        content.prompt_tokens = usage.prompt_tokens
    if usage.completion_tokens is not None:
        content.completion_tokens = usage.completion_tokens


def _stream(body: _Body) -> Content:
    """Server-sent events in the shape of OpenAI: events that carry text are tokens, `[DONE]` or a finish reason ends."""
    content = Content()
    whole = b"".join(body.pieces)
    ends = list(accumulate(map(len, body.pieces)))
    times = array("q")
    finished = False
    events = 0
    position = 0
    for line in whole.splitlines(keepends=True):
        position += len(line)
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        events += 1
        if data == b"[DONE]":
            finished = True
            continue
        try:
            event = _decode_event(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            content.failure = Failure.NOT_JSON
            continue
        if event.error is not None:
            content.failure = Failure.STREAM
        _count(content, event.usage)
        for choice in event.choices:
            finished = finished or choice.finish_reason is not None
            if _carries_text(choice):
                # The line's last byte decides when it could be read.
                times.append(body.times_ns[bisect_right(ends, position - 1)])
    content.token_events = len(times)
    content.token_times_ns = times
    if not events:
        content.failure = Failure.NOT_JSON
    elif not finished and content.failure is Failure.NONE:
        content.failure = Failure.STREAM
    return content


def _carries_text(choice: _Choice) -> bool:
    delta = choice.delta
    if delta is None:
        return bool(choice.text)
    return bool(
        delta.content or delta.reasoning_content or delta.reasoning or delta.tool_calls or delta.refusal
    )
