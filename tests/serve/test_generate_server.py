"""Generation behind a real uvicorn on a socket: the `openai` client, our own, hang-ups, slow readers, drain."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from letter_generator import LOGPROB

from paceline.base.errors import EngineError, NotFound, Overloaded
from paceline.client import AsyncClient, Client
from paceline.flow.limiter import LimitPolicy
from paceline.serve.policy import AuthPolicy

HELLO = [{"role": "user", "content": "hello you"}]


@contextmanager
def client(url, **options):
    with openai.OpenAI(base_url=f"{url}/v1", max_retries=0, **{"api_key": "secret", **options}) as made:
        yield made


def until(condition):
    """Wait for another thread; the test's own time limit ends it if need be."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.002)


def post(path, body):
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


# -- OpenAI's client ----------------------------------------------------------------------------------------------


def test_a_chat_of_the_openai_client(writing, serve):
    with serve(writing.app) as url, client(url) as made:
        reply = made.chat.completions.create(
            model="letters", messages=HELLO, max_completion_tokens=5, logprobs=True, top_logprobs=1, n=2
        )

    assert [choice.message.content for choice in reply.choices] == ["HELLO", "YOU H"]
    assert (reply.choices[0].finish_reason, reply.usage.completion_tokens) == ("length", 10)
    assert reply.choices[0].logprobs.content[0].top_logprobs[0].logprob == LOGPROB


def test_a_streamed_chat_of_the_openai_client(writing, serve):
    with serve(writing.app) as url, client(url) as made:
        stream = made.chat.completions.create(
            model="letters", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)

    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "HELLO YOU"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 18)
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens == 0


@pytest.mark.parametrize("stream", [True, False])
def test_a_completion_of_the_openai_client(writing, serve, stream):
    with serve(writing.app) as url, client(url) as made:
        reply = made.completions.create(
            model="letters", prompt=["ab", "cd"], logprobs=1, stream=stream, extra_body={"top_k": 3}
        )
        texts = ["", ""]
        for chunk in reply if stream else [reply]:
            for choice in chunk.choices:
                texts[choice.index] += choice.text

    assert texts == ["AB", "CD"]
    assert writing.letters.requests[0].sampling.top_k == 3


def test_the_openai_clients_own_streaming_of_tools_understands_ours(writing, serve):
    writing.letters.answer = '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>'
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    with (
        serve(writing.app) as url,
        client(url) as made,
        made.chat.completions.stream(model="letters", messages=HELLO, tools=[tool]) as stream,
    ):
        (choice,) = stream.get_final_completion().choices

    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls[0].function.arguments == '{"city":"Oslo"}'


def test_what_the_openai_client_got_it_may_send_back(writing, serve):
    with serve(writing.app) as url, client(url) as made:
        first = made.chat.completions.create(model="letters", messages=HELLO).choices[0].message
        again = made.chat.completions.create(
            model="letters", messages=[*HELLO, first.model_dump(), {"role": "user", "content": "bye"}]
        )

    assert again.choices[0].message.content == "BYE"
    assert [turn["role"] for turn in writing.letters.requests[1].prompt.messages] == [
        "user",
        "assistant",
        "user",
    ]


@pytest.mark.parametrize("stream", [True, False])
def test_the_openai_client_raises_its_usual_exceptions(build, serve, stream):
    house = build(auth=AuthPolicy(token="secret"), limits=LimitPolicy(rpm=5), generating=True)

    def ask(url, **given):
        with client(url, api_key=given.pop("key", "secret")) as made:
            reply = made.chat.completions.create(
                **{"model": "letters", "messages": HELLO, "stream": stream, **given}
            )
            return list(reply)

    with serve(house.app) as url:
        with pytest.raises(openai.AuthenticationError):
            ask(url, key="wrong")
        with pytest.raises(openai.NotFoundError, match="there is 'letters'"):
            ask(url, model="tiny")
        with pytest.raises(openai.BadRequestError, match="max_tokens") as bad:
            ask(url, max_tokens=0)
        house.letters.refusal = Overloaded("the queue is full", retry_after_s=2.4)
        with pytest.raises(openai.InternalServerError, match="queue is full") as full:
            ask(url)
        house.letters.refusal = ZeroDivisionError()
        with pytest.raises(openai.InternalServerError):
            ask(url)
        house.letters.refusal = None
        house.letters.fails_after = 2
        with pytest.raises(openai.APIError, match="letters ran out"):
            ask(url)
        with pytest.raises(openai.RateLimitError, match="used up"):
            ask(url)

    assert (bad.value.code, bad.value.param) == ("invalid_request", "max_tokens")
    assert full.value.response.headers["retry-after"] == "3"


# -- our own clients ----------------------------------------------------------------------------------------------


def test_our_client_reads_whole_answers_and_streams(writing, serve):
    with serve(writing.app) as url, Client(url) as made:
        whole = made.chat("hello you", max_tokens=5)
        pieces = list(made.chat_stream("hello you", max_tokens=5))
        completed = made.generate("ab", n=2)
        letters = [piece.text for piece in made.generate_stream([0, 1])]

    assert (whole.text, whole.usage.completion_tokens, whole.timings.queue_s) == ("HELLO", 5, 0.002)
    assert "".join(piece.text for piece in pieces) == "HELLO"
    assert (pieces[-2].finish_reason, pieces[-1].usage.completion_tokens) == ("length", 5)
    assert [answer.text for answer in completed.answers] == ["AB", "AB"]
    assert letters == ["A", "B", ""]


def test_our_asynchronous_client_does_the_same(writing, serve):
    async def scenario(url):
        async with AsyncClient(url) as made:
            whole = await made.chat("hello you", max_tokens=5)
            texts = [piece.text async for piece in made.generate_stream("ab")]
            completed = await made.generate("ab")
        return whole.text, texts, completed.text

    with serve(writing.app) as url:
        assert asyncio.run(scenario(url)) == ("HELLO", ["A", "B", ""], "AB")


def test_a_stream_that_fails_raises_the_servers_error_after_its_pieces(writing, serve):
    writing.letters.fails_after = 1
    told = []
    with serve(writing.app) as url, Client(url) as made:
        with pytest.raises(EngineError, match="ran out"):
            told.extend(piece.text for piece in made.generate_stream("ab"))
        with pytest.raises(NotFound):
            list(made.generate_stream("ab", model="tiny"))

    assert len(writing.letters.requests) == 1


def test_leaving_a_stream_ends_it_on_the_server(writing, serve):
    writing.letters.steps = asyncio.Semaphore(1)
    with serve(writing.app) as url, Client(url) as made:
        pieces = made.generate_stream("ab")
        first = next(pieces)
        pieces.close()
        until(lambda: writing.letters.abandoned == 1)

    assert first.text == "A"


# -- connections --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [b"true", b"false"])
def test_a_hundred_hang_ups_leave_nothing_running(writing, serve, stream):
    with serve(writing.app) as url:
        address = urlsplit(url)
        writing.letters.steps = asyncio.Semaphore(0)
        links = [socket.create_connection((address.hostname, address.port)) for _ in range(100)]
        for link in links:
            link.sendall(post("/v1/completions", b'{"prompt":"abc","stream":%b}' % stream))
        until(lambda: len(writing.letters.requests) == 100)
        for link in links:
            link.close()
        until(lambda: writing.letters.abandoned == 100)
        page = httpx.get(f"{url}/metrics").text

    assert 'paceline_requests_total{route="/v1/completions",status="499"} 100' in page
    assert "paceline_generate_streaming 0.0" in page


def test_a_reader_that_stands_still_does_not_hold_up_others(writing, serve):
    endless = b'{"prompt":"%b","ignore_eos":true,"max_tokens":100000,"stream":true,"logprobs":20}' % (
        b"a" * 4000
    )
    with serve(writing.app) as url:
        address = urlsplit(url)
        with socket.socket() as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            link.connect((address.hostname, address.port))
            link.sendall(post("/v1/completions", endless))
            until(lambda: writing.letters.requests)
            with client(url) as made:
                texts = [
                    made.chat.completions.create(model="letters", messages=HELLO).choices[0].message.content
                    for _ in range(20)
                ]
            told = writing.letters.longest
        until(lambda: writing.letters.abandoned == 1)

    assert texts == ["HELLO YOU"] * 20
    assert told < 100_000


def test_while_draining_an_open_stream_ends_well(writing, serve):
    writing.letters.steps = asyncio.Semaphore(1)
    with serve(writing.app) as url, Client(url) as made:
        pieces = made.generate_stream("ab")
        first = next(pieces)
        writing.app.drain()
        writing.letters.let(1)
        rest = "".join(piece.text for piece in pieces)
        refused = httpx.get(f"{url}/health/ready").status_code

    assert (first.text, rest, refused) == ("A", "B", 503)
