"""The bytes of replies and chunks are those of the wire structs."""

from __future__ import annotations

import math

import msgspec
import pytest

from paceline.base.generate_replies import (
    ChatChunk,
    ChatReply,
    CompletionReply,
    InferenceChunk,
    InferenceReply,
)
from paceline.base.generation import GenerateEvent, GenerateRequest, TokenLogprob, Usage
from paceline.serve.generate_decode import Asked
from paceline.serve.generate_encode import ChatForm, Choice, CompletionForm, InferenceForm

TOKEN = TokenLogprob(7, "ä", -math.inf, ((7, "ä", -math.inf), (8, '"', -0.5)))
EVENT = GenerateEvent(0, 'ä\n"\u2028\x00', (7,), (TOKEN,), "stop")
USAGE = Usage(3, 2, 1)

FORMS = [
    (CompletionForm, CompletionReply, CompletionReply),
    (ChatForm, ChatReply, ChatChunk),
    (InferenceForm, InferenceReply, InferenceChunk),
]


def asked(**given):
    return Asked((GenerateRequest("x", **given),), stream=True, include_usage=True)


@pytest.mark.parametrize("logprobs", [None, 1])
@pytest.mark.parametrize(("form", "reply", "chunk"), FORMS)
def test_chunks_hold_what_their_struct_says_and_nothing_else(form, reply, chunk, logprobs):
    made = form("r1", "m", 5, asked(logprobs=logprobs))
    stream = made.opening() + made.piece(0, EVENT) + made.closing(USAGE)

    *blocks, done, end = stream.split(b"\n\n")
    for block in blocks:
        data = block.removeprefix(b"data: ")
        told = msgspec.json.decode(data)
        again = msgspec.to_builtins(msgspec.json.decode(data, type=chunk))
        assert told.items() <= again.items() or "choices" in told
        assert told.keys() <= again.keys()
        assert (told["id"], told["model"], told["created"]) == (again["id"], "m", 5)
    assert (done, end) == (b"data: [DONE]", b"")
    assert msgspec.json.decode(blocks[-1].removeprefix(b"data: "))["usage"]["total_tokens"] == 5


@pytest.mark.parametrize(("form", "reply", "chunk"), FORMS)
def test_whole_replies_decode_into_their_struct(form, reply, chunk):
    choice = Choice()
    choice.add(EVENT)

    told = msgspec.json.decode(form("r1", "m", 5, asked(logprobs=1)).whole([choice], USAGE), type=reply)

    assert told.usage.prompt_tokens_details.cached_tokens == 1


def test_text_is_told_as_it_is():
    piece = CompletionForm("r1", "m", 5, asked()).piece(0, EVENT)

    assert msgspec.json.decode(piece.removeprefix(b"data: "))["choices"][0]["text"] == EVENT.text


def test_minus_infinity_is_told_as_a_number():
    piece = ChatForm("r1", "m", 5, asked(logprobs=1)).piece(0, EVENT)

    (token,) = msgspec.json.decode(piece.removeprefix(b"data: "))["choices"][0]["logprobs"]["content"]
    assert (token["logprob"], token["top_logprobs"][1]["logprob"]) == (-9999.0, -0.5)


@pytest.mark.parametrize("form", [form for form, _, _ in FORMS])
def test_an_event_without_news_is_not_told(form):
    assert form("r1", "m", 5, asked()).piece(0, GenerateEvent(0, "", (7,))) == b""
