"""The generations of a call with several prompts, told as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from paceline.base.generation import GenerateEvent, GenerateRequest, Generation, Generator


async def start_all(
    generator: Generator, requests: Sequence[GenerateRequest], *, deadline_at: float
) -> list[Generation]:
    """Start every request, or none: when one is refused, those that began are given up."""
    begun: list[Generation] = []
    try:
        for request in requests:
            generation = await generator.start(request, deadline_at=deadline_at)
            begun.append(generation)
    except BaseException:  # a caller that left as well: what was begun must not go on
        await close_all(begun)
        raise
    return begun


async def close_all(generations: Sequence[Generation]) -> None:
    """Stop what is under way."""
    for generation in generations:
        await generation.aclose()


async def interleaved(
    generations: Sequence[Generation],
) -> AsyncGenerator[tuple[int, list[GenerateEvent]], None]:
    """What came, with the place of the generation that told it. The first failure ends it."""
    if len(generations) == 1:
        async for events in generations[0]:
            yield 0, events
        return
    sources = [aiter(generation) for generation in generations]
    turns = {asyncio.ensure_future(_next(source)): place for place, source in enumerate(sources)}
    try:
        while turns:
            done, _ = await asyncio.wait(turns, return_when=asyncio.FIRST_COMPLETED)
            for turn in done:
                place = turns.pop(turn)
                news = turn.result()
                if news is not None:
                    turns[asyncio.ensure_future(_next(sources[place]))] = place
                    yield place, news
    finally:
        for turn in turns:
            turn.cancel()
        await asyncio.gather(*turns, return_exceptions=True)


async def _next(source: AsyncIterator[list[GenerateEvent]]) -> list[GenerateEvent] | None:
    return await anext(source, None)
