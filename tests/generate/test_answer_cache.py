"""Exact answers kept: computed once, followed while they are made, given up when nobody waits."""

from __future__ import annotations

import asyncio
from math import inf

import msgspec
import pytest
from letter_generator import LetterGenerator

from paceline.base.clock import loop_clock
from paceline.base.errors import DeadlineExceeded, EngineError, Overloaded
from paceline.base.generation import Chat, GenerateRequest, Sampling
from paceline.flow.cache.policy import CachePolicy
from paceline.flow.cache.tiers import open_tiers
from paceline.generate.answer_cache import CachedGenerator

EXACT = Sampling(temperature=0.0)


def asked(prompt="hi there", **fields) -> GenerateRequest:
    return GenerateRequest(prompt=prompt, **{"sampling": EXACT, **fields})


def cached(letters: LetterGenerator, *, normalize: str = "none", **policy) -> CachedGenerator:
    tiers = open_tiers(CachePolicy(**policy))
    return CachedGenerator(
        letters, tiers, fingerprint=b"letters", ttl_s=60.0, normalize=normalize, clock=loop_clock()
    )


async def text_of(generation) -> str:
    return "".join([event.text async for events in generation for event in events])


async def answer(generator: CachedGenerator, request: GenerateRequest, deadline_at: float = inf):
    generation = await generator.start(request, deadline_at=deadline_at)
    return await text_of(generation), generation


def test_the_second_answer_comes_from_memory_as_it_was(run_virtual):
    async def main():
        letters = LetterGenerator()
        generator = cached(letters)
        first, made = await answer(generator, asked(logprobs=1, prompt_logprobs=0))
        second, kept = await answer(generator, asked(logprobs=1, prompt_logprobs=0))
        return letters, (first, made), (second, kept)

    letters, (first, made), (second, kept) = run_virtual(main())

    assert first == second == "HI THERE"
    assert (made.timings.cache, kept.timings.cache) == ("miss", "l1")
    assert kept.usage == made.usage
    assert kept.prompt_logprobs == made.prompt_logprobs
    assert len(letters.requests) == 1


@pytest.mark.parametrize(
    "other",
    [
        asked("hi  there"),
        asked(max_tokens=3),
        asked(stop=("T",)),
        asked(logprobs=0),
        asked(n=2),
        asked(sampling=Sampling(temperature=0.0, presence_penalty=1.0)),
        asked(Chat([{"role": "user", "content": "hi there"}])),
        asked([ord(letter) for letter in "hi there"]),
    ],
)
def test_whatever_changes_the_answer_is_another_answer(run_virtual, other):
    async def main():
        letters = LetterGenerator()
        generator = cached(letters)
        await answer(generator, asked())
        await answer(generator, other)
        return letters

    assert len(run_virtual(main()).requests) == 2


def test_priority_and_the_models_own_name_are_not_part_of_the_answer(run_virtual):
    async def main():
        letters = LetterGenerator()
        generator = cached(letters)
        await answer(generator, asked())
        return await answer(generator, asked(model="letters", priority="low"))

    assert run_virtual(main())[1].timings.cache == "l1"


def test_chance_is_never_kept(run_virtual):
    async def main():
        letters = LetterGenerator()
        generator = cached(letters)
        for _ in range(2):
            await answer(generator, asked(sampling=Sampling(temperature=0.5, seed=1)))
        return letters

    assert len(run_virtual(main()).requests) == 2


def test_a_folded_prompt_is_what_the_model_sees(run_virtual):
    async def main():
        letters = LetterGenerator()
        generator = cached(letters, normalize="space+case")
        await answer(generator, asked(" Hi \n there"))
        _, kept = await answer(generator, asked("hi there"))
        await answer(generator, asked(Chat([{"role": "user", "content": "A  B"}])))
        return letters, kept

    letters, kept = run_virtual(main())

    assert kept.timings.cache == "l1"
    assert letters.requests[0].prompt == "hi there"
    assert letters.requests[1].prompt.messages == [{"role": "user", "content": "a b"}]


def test_those_who_ask_meanwhile_follow_the_same_answer_from_its_beginning(run_virtual):
    async def main():
        letters = LetterGenerator()
        letters.steps = asyncio.Semaphore(0)
        generator = cached(letters)
        first = asyncio.ensure_future(answer(generator, asked()))
        await letters.entered.wait()
        for _ in range(3):
            letters.steps.release()
            await asyncio.sleep(0.01)
        second = asyncio.ensure_future(answer(generator, asked()))
        await asyncio.sleep(0.01)
        for _ in range(20):
            letters.steps.release()
        return letters, await first, await second

    letters, (first, made), (second, shared) = run_virtual(main())

    assert first == second == "HI THERE"
    assert (made.timings.cache, shared.timings.cache) == ("miss", "flight")
    assert len(letters.requests) == 1


def test_an_answer_goes_on_while_anyone_follows_and_is_given_up_when_nobody_does(run_virtual):
    async def main():
        letters = LetterGenerator()
        letters.steps = asyncio.Semaphore(1)
        generator = cached(letters)
        first = await generator.start(asked(), deadline_at=inf)
        second = await generator.start(asked(), deadline_at=inf)
        await anext(aiter(first))
        await first.aclose()
        await first.aclose()
        await asyncio.sleep(0.01)
        still = letters.abandoned
        await second.aclose()
        await asyncio.wait_for(letters.left.wait(), 1)
        letters.steps = None
        return still, letters, await answer(generator, asked())

    still, letters, (again, _) = run_virtual(main())

    assert (still, letters.abandoned) == (0, 1)
    assert again == "HI THERE"
    assert len(letters.requests) == 2


def test_a_refusal_reaches_all_who_asked_and_is_not_kept(run_virtual):
    async def main():
        letters = LetterGenerator()
        letters.refusal = Overloaded("full", retry_after_s=1.0)
        generator = cached(letters)
        refused = await asyncio.gather(
            *(generator.start(asked(), deadline_at=inf) for _ in range(2)), return_exceptions=True
        )
        letters.refusal = None
        return refused, await answer(generator, asked())

    refused, (again, _) = run_virtual(main())

    assert [type(one) for one in refused] == [Overloaded, Overloaded]
    assert again == "HI THERE"


def test_a_failure_on_the_way_ends_the_answer_for_all_and_is_not_kept(run_virtual):
    async def main():
        letters = LetterGenerator()
        letters.fails_after = 3
        generator = cached(letters)
        with pytest.raises(EngineError):
            await answer(generator, asked())
        letters.fails_after = None
        return await answer(generator, asked())

    assert run_virtual(main())[0] == "HI THERE"


def test_each_caller_has_a_deadline_of_its_own(run_virtual):
    """The one who came first gives up; the other goes on."""

    async def main():
        letters = LetterGenerator()
        letters.steps = asyncio.Semaphore(0)
        generator = cached(letters)
        loop = asyncio.get_running_loop()
        first = asyncio.ensure_future(answer(generator, asked(), loop.time() + 1.0))
        await letters.entered.wait()
        second = asyncio.ensure_future(answer(generator, asked(), loop.time() + 100.0))
        await asyncio.sleep(2.0)
        for _ in range(20):
            letters.steps.release()
        return await asyncio.gather(first, second, return_exceptions=True), letters

    (first, second), letters = run_virtual(main())

    assert isinstance(first, DeadlineExceeded)
    assert second[0] == "HI THERE"
    assert len(letters.requests) == 1


def test_whoever_follows_does_not_wait_longer_for_the_beginning_than_it_may(run_virtual):
    """The first one's engine has not even begun; the second has a second to spare."""

    class Slow(LetterGenerator):
        async def start(self, request, *, deadline_at):
            await asyncio.sleep(50)
            return await super().start(request, deadline_at=deadline_at)

    async def main():
        generator = cached(Slow())
        loop = asyncio.get_running_loop()
        first = asyncio.ensure_future(answer(generator, asked(), loop.time() + 100.0))
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded):
            await answer(generator, asked(), loop.time() + 1.0)
        return loop.time(), await first

    gave_up_at, (text, _) = run_virtual(main())
    assert gave_up_at == 1.0
    assert text == "HI THERE"


def test_switched_off_it_is_not_there(run_virtual):
    async def main():
        letters = LetterGenerator()
        generator = cached(letters, enabled=False)
        await answer(generator, asked())
        await answer(generator, asked())
        return letters

    assert len(run_virtual(main()).requests) == 2


def test_an_unknown_model_is_the_generators_to_refuse(run_virtual):
    async def main():
        letters = LetterGenerator()
        generator = cached(letters)
        await generator.start(msgspec.structs.replace(asked(), model="other"), deadline_at=inf)
        return letters

    assert run_virtual(main()).requests[0].model == "other"
