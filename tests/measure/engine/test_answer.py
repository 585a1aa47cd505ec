"""What is read from answers: tokens and their moments, usage, cache hits, and whether they are what they should be."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.measure.engine.answer import read_answer
from paceline.measure.failure import Failure
from paceline.measure.records.record import Tier

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(text: str) -> bytes:
    data = text.encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def delta(content: str | None, finish: str | None = None) -> str:
    choice = {"index": 0, "delta": {} if content is None else {"content": content}, "finish_reason": finish}
    return f"data: {json.dumps({'choices': [choice]})}\n\n"


def stream(*events: tuple[int, str]):
    return [(0, HEAD), *((at, chunk(text)) for at, text in events), (99, b"0\r\n\r\n")]


def test_tokens_are_the_events_with_text_each_at_the_time_of_its_last_byte():
    content = read_answer(
        stream(
            (1, delta("")),  # the role alone
            (2, delta("one")),
            (3, delta("two") + delta("three")),
            (4, delta(None, "stop")),
            (5, 'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}\n\n'),
            (6, "data: [DONE]\n\n"),
        ),
        "stream",
    )

    assert content.failure is Failure.NONE
    assert list(content.token_times_ns) == [2, 3, 3]
    assert (content.token_events, content.prompt_tokens, content.completion_tokens) == (3, 7, 3)


@pytest.mark.parametrize(
    "event",
    [
        {"text": "word"},
        {"delta": {"reasoning_content": "hm"}},
        {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}},
    ],
)
def test_completions_reasoning_and_tool_calls_are_tokens_too(event):
    content = read_answer(
        stream((1, f"data: {json.dumps({'choices': [event]})}\n\n"), (2, "data: [DONE]\n\n")), "stream"
    )

    assert list(content.token_times_ns) == [1]


@given(st.integers(1, 400), st.booleans())
def test_however_the_bytes_are_cut_the_tokens_are_the_same(size, crlf):
    text = "".join(
        (": comment\n\n", delta("a"), delta("b"), delta("c"), delta(None, "stop"), "data: [DONE]\n\n")
    )
    raw = HEAD + chunk(text.replace("\n", "\r\n") if crlf else text) + b"0\r\n\r\n"
    cut = [(at, raw[at : at + size]) for at in range(0, len(raw), size)]

    content = read_answer(cut, "stream")

    assert content.failure is Failure.NONE
    assert content.token_events == 3
    assert list(content.token_times_ns) == sorted(content.token_times_ns)


@pytest.mark.parametrize(
    ("events", "failure"),
    [
        ([(1, delta("a"))], Failure.STREAM),
        ([(1, delta("a")), (2, 'data: {"error": {"message": "out of memory"}}\n\n')], Failure.STREAM),
        ([(1, "data: {broken\n\n"), (2, "data: [DONE]\n\n")], Failure.NOT_JSON),
        ([(1, '{"choices": []}')], Failure.NOT_JSON),
    ],
)
def test_a_stream_that_is_not_what_it_should_be_is_a_failure(events, failure):
    assert read_answer(stream(*events), "stream").failure is failure


def answer(body: bytes, *headers: str):
    head = "".join(f"{header}\r\n" for header in (f"Content-Length: {len(body)}", *headers))
    return [(5, f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body)]


def test_usage_is_read_from_a_whole_answer():
    content = read_answer(answer(b'{"data": [{"embedding": [1.5]}], "usage": {"prompt_tokens": 4}}'), "json")

    assert (content.prompt_tokens, content.completion_tokens, content.failure) == (4, -1, Failure.NONE)


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"usage": 3}', b'"\xff"'])
def test_what_is_no_json_object_with_usage_in_its_place_is_a_failure(body):
    assert read_answer(answer(body), "json").failure is Failure.NOT_JSON


@pytest.mark.parametrize(
    ("header", "tier"),
    [
        ('Server-Timing: cache;desc="l1", total;dur=0.1', Tier.HIT),
        ("server-timing: total;dur=3, cache;desc=flight", Tier.HIT),
        ('Server-Timing: cache;desc="miss"', Tier.MISS),
        ("X-Cache: HIT", Tier.UNKNOWN),
    ],
)
def test_a_cache_hit_is_told_by_the_server_timing(header, tier):
    assert read_answer(answer(b"{}", header), "json").tier is tier
