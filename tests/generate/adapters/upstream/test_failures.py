"""What goes wrong at an upstream, or on the way there, and who ends what."""

import asyncio
import socket

import pytest
from upstream_words import DONE, SAY, WHOLE, answer, event, opened, piece, soon, speaking

from paceline.base.errors import CircuitOpen, DeadlineExceeded, EngineError, InvalidRequest, Overloaded
from paceline.base.generation import GenerateEvent
from scripted_server import Answer

pytestmark = pytest.mark.anyio


async def test_a_passing_failure_is_tried_again_before_the_first_event(server):
    """A status, a connection that breaks, and an event that reports a failure: nothing had been told yet."""
    server.says(
        Answer(503, {"error": {"message": "busy"}}),
        speaking(cut=True),
        speaking(event(error={"message": "dead", "code": 500})),
        speaking(*WHOLE),
    )

    events, _ = await answer(server, attempts=4)

    assert "".join(event.text for event in events) == "ab"
    assert len(server.seen) == 4


async def test_a_refusal_is_final(server):
    """Wrong input is as wrong the next time; its message and param reach the caller."""
    server.says(Answer(400, {"error": {"message": "n is too large", "param": "n"}}))

    with pytest.raises(InvalidRequest, match="n is too large") as refusal:
        await answer(server)

    assert refusal.value.param == "n"
    assert len(server.seen) == 1


async def test_an_overloaded_upstream_is_passed_on_with_its_patience(server):
    """It asks for more than we would wait."""
    server.says(Answer(429, {"error": {"message": "slow down"}}, {"retry-after": "60"}))

    with pytest.raises(Overloaded, match="slow down") as refusal:
        await answer(server)

    assert refusal.value.retry_after_s == 60.0


async def test_a_stream_that_breaks_is_not_tried_again(server):
    """Its first words have been told; the breaker counts the fault all the same."""
    server.says(speaking(piece("a"), cut=True))
    upstream = opened(server)
    events = aiter(await upstream.start(SAY, deadline_at=soon()))
    told = await anext(events)

    with pytest.raises(EngineError, match="cannot reach the upstream"):
        await anext(events)
    await upstream.close()

    assert told == [GenerateEvent(0, "a")]
    assert upstream.breaker.failures_total == 1
    assert upstream.stats()["upstream"]["broken_total"] == 1
    assert len(server.seen) == 1


@pytest.mark.parametrize("end", [[], [DONE], [event(error={"message": "out of memory"})]])
async def test_an_answer_without_its_end_is_a_failure(server, end):
    """Half an answer must not look like a whole one."""
    server.says(speaking(piece("a"), *end))

    with pytest.raises(EngineError, match=r"1 of its choices unfinished|out of memory"):
        await answer(server)


async def test_words_of_another_protocol_are_a_failure(server):
    """The message says which setting to look at."""
    server.says(speaking(b"data: <html>\n\n"))

    with pytest.raises(EngineError, match=r"not OpenAI's.*generate\.upstream\.url"):
        await answer(server, attempts=1)


async def test_leaving_early_closes_the_connection(server):
    """The upstream sees it at once and stops."""
    server.says(speaking(piece("a"), hang=True))
    upstream = opened(server)
    generation = await upstream.start(SAY, deadline_at=soon())
    assert not upstream._idle.is_set()

    await generation.aclose()

    assert await asyncio.to_thread(server.left.wait, 10)
    await upstream.drain()
    assert [events async for events in generation] == []
    await upstream.close()


@pytest.mark.parametrize("first", [[], [piece("a")]])
async def test_cancelling_closes_the_connection(server, first):
    """Before the first event and after it."""
    server.says(speaking(*first, hang=True))
    upstream, told = opened(server), asyncio.Event()

    async def read():
        async for _ in await upstream.start(SAY, deadline_at=soon()):
            told.set()

    task = asyncio.create_task(read())
    assert await asyncio.to_thread(server.came.wait, 10)
    if first:
        await told.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await asyncio.to_thread(server.left.wait, 10)
    assert upstream.stats()["upstream"]["running"] == 0
    assert upstream.breaker.failures_total == 0
    await upstream.close()


@pytest.mark.parametrize("first", [[], [piece("a")]])
async def test_a_passed_deadline_ends_the_request_there_too(server, first):
    """It is the caller's time, no fault of the upstream's."""
    server.says(speaking(*first, hang=True))
    upstream = opened(server)

    with pytest.raises(DeadlineExceeded, match="the deadline"):
        async for _ in await upstream.start(SAY, deadline_at=soon(0.2)):
            pass

    assert await asyncio.to_thread(server.left.wait, 10)
    assert upstream.breaker.failures_total == 0
    await upstream.close()


@pytest.mark.parametrize("first", [[], [piece("a")]])
async def test_a_silent_upstream_is_given_up_and_counted(server, first):
    """It is not asked again: it may be at work on the first."""
    server.says(speaking(*first, hang=True))
    upstream = opened(server, timeout_s=0.1)

    with pytest.raises(DeadlineExceeded, match=r"silent for 0\.1 s"):
        async for _ in await upstream.start(SAY, deadline_at=soon()):
            pass
    await upstream.close()

    assert upstream.breaker.failures_total == 1
    assert len(server.seen) == 1


async def test_a_dead_upstream_opens_the_breaker(server):
    """After that it is left alone, and `/health` says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    upstream = opened(server, url=f"http://127.0.0.1:{port}", attempts=1, failure_threshold=2)
    for _ in range(2):
        with pytest.raises(EngineError, match=rf"cannot reach the upstream http://127\.0\.0\.1:{port}/v1"):
            await upstream.start(SAY, deadline_at=soon())

    with pytest.raises(CircuitOpen, match="the upstream failed 2 times"):
        await upstream.start(SAY, deadline_at=soon())

    assert upstream.health() == {
        "status": "failing",
        "breaker": "open",
        "engine": f"upstream http://127.0.0.1:{port}/v1",
    }
    await upstream.close()
