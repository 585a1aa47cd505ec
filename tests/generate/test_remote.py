"""A generator behind a real unix socket."""

from __future__ import annotations

import asyncio
from math import inf

import pytest
from letter_generator import LetterGenerator

from paceline.base.errors import EngineError, Overloaded
from paceline.base.generation import Chat, GenerateRequest, Guide, Sampling, ScoreRequest
from paceline.flow.channel import Channel, ChannelServer
from paceline.generate.remote import GenerateHost, RemoteGenerator


async def joined(letters: LetterGenerator, folder):
    host = GenerateHost(letters)
    server = ChannelServer(folder / "s", host.answer)
    await server.start()
    channel = Channel(folder / "s")
    return server, channel, RemoteGenerator(channel, letters.card()), host


def over(folder, act, letters: LetterGenerator | None = None):
    """Run `act(remote, host)` with a server behind it."""

    async def main():
        server, channel, remote, host = await joined(letters or LetterGenerator(), folder)
        try:
            return await asyncio.wait_for(act(remote, host), 20)
        finally:
            await channel.close()
            await server.close()

    return asyncio.run(main())


def test_events_usage_and_timings_come_as_they_are(tmp_path):
    letters = LetterGenerator()

    async def act(remote, host):
        request = GenerateRequest(
            prompt=Chat([{"role": "user", "content": "ab cd"}]),
            sampling=Sampling(logit_bias={3: 1.5}, guide=Guide("choice", '["AB"]')),
            logprobs=2,
            prompt_logprobs=1,
            n=2,
            stop=("x",),
        )
        generation = await remote.start(request, deadline_at=inf)
        events = [event async for some in generation for event in some]
        return generation, events, host

    generation, events, host = over(tmp_path, act, letters)

    assert "".join(event.text for event in events if event.index == 0) == "AB"
    assert events[0].logprobs[0].top[1][1] == "B"
    assert {event.finish_reason for event in events} == {None, "stop"}
    assert (generation.usage.completion_tokens, generation.timings.queue_s) == (4, 0.002)
    assert len(generation.prompt_logprobs) == 5
    assert letters.requests[0].sampling.logit_bias == {3: 1.5}
    assert not host._open


def test_refusals_and_failures_are_raised_as_what_they_are(tmp_path):
    letters = LetterGenerator()

    async def act(remote, host):
        letters.refusal = Overloaded("full", retry_after_s=2.0)
        with pytest.raises(Overloaded) as refused:
            await remote.start(GenerateRequest(prompt="a"), deadline_at=inf)
        letters.refusal, letters.fails_after = None, 1
        generation = await remote.start(GenerateRequest(prompt="abc"), deadline_at=inf)
        with pytest.raises(EngineError, match="ran out"):
            async for _ in generation:
                pass
        return refused.value.retry_after_s, host

    retry_after_s, host = over(tmp_path, act, letters)
    assert retry_after_s == 2.0
    assert not host._open


def test_leaving_here_frees_what_is_held_there(tmp_path):
    letters = LetterGenerator()

    async def act(remote, host):
        letters.steps = asyncio.Semaphore(1)
        generation = await remote.start(GenerateRequest(prompt="abc"), deadline_at=inf)
        await anext(aiter(generation))
        await generation.aclose()
        await letters.left.wait()
        return host

    assert not over(tmp_path, act, letters)._open


def test_a_worker_that_dies_frees_what_it_held(tmp_path):
    letters = LetterGenerator()

    async def act(remote, host):
        letters.steps = asyncio.Semaphore(0)
        generation = await remote.start(GenerateRequest(prompt="abc"), deadline_at=inf)
        waiting = asyncio.ensure_future(anext(aiter(generation)))
        await asyncio.sleep(0)
        await remote.health_now()
        await remote._channel.close()
        await letters.left.wait()
        waiting.cancel()
        return host

    assert not over(tmp_path, act, letters)._open


def test_scores_and_health_come_across(tmp_path):
    async def act(remote, host):
        scored = await remote.score(ScoreRequest("a", ("bc", "d")), deadline_at=inf)
        await remote.health_now()
        return scored, remote.health()

    scored, health = over(tmp_path, act)

    assert [one.tokens for one in scored] == [(98, 99), (100,)]
    assert health["status"] == "ok"
