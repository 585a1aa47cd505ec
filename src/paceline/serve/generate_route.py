"""Routes that generate text: the whole path of a request in two functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing

from starlette.types import Receive, Scope, Send

from paceline.base.errors import InvalidRequest, NotFound
from paceline.base.generation import Generation, Generator
from paceline.serve.call import JSON, TIER, Call, Told
from paceline.serve.decode import read_body
from paceline.serve.departure import unless_left
from paceline.serve.entrance import Entrance
from paceline.serve.generate_decode import Asked
from paceline.serve.generate_encode import Choice, Form
from paceline.serve.generate_metrics import Course, GenerateMetrics
from paceline.serve.http_protocol import Header
from paceline.serve.interleave import close_all, interleaved, start_all
from paceline.serve.metrics import RouteMetrics
from paceline.serve.sse import HEADERS

FormOf = Callable[[str, str, int, Asked], Form]
"""From request id, model, instant (seconds since 1970) and what is asked."""


def generator_of(generators: Mapping[str, Generator], model: str | None) -> Generator:
    """The generator of this name, or the only one. Raises NotFound, InvalidRequest."""
    if model is None and len(generators) > 1:
        raise InvalidRequest(
            f"several models generate here: {', '.join(map(repr, generators))}; name one", param="model"
        )
    generator = next(iter(generators.values()), None) if model is None else generators.get(model)
    if generator is None:
        known = ", ".join(map(repr, generators)) or "none: generation is off (generate.model)"
        raise NotFound(
            f"model {model!r} does not generate text here; there is {known} (see /v1/models)", param="model"
        )
    return generator


class GenerateRoute:
    """An ASGI application for one path whose bodies `decode` turns into what is Asked, told as `form` says."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a route, each given by the application
        self,
        route: RouteMetrics,
        decode: Callable[[bytes, Mapping[bytes, bytes]], Asked],
        form: FormOf,
        generators: Mapping[str, Generator],
        entrance: Entrance,
        metrics: GenerateMetrics,
    ) -> None:
        self._route = route
        self._decode = decode
        self._form = form
        self._generators = generators
        self._entrance = entrance
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authorise -> rate limit -> read and decode -> answer."""
        call = Call.of(self._entrance, self._route, scope, send)
        try:
            await call.admit()
            body = await read_body(receive, call.headers, self._entrance.policy.max_body_bytes)
            await self.answer(call, self._decode(body, call.headers), receive)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever happened, the caller gets a problem
            await call.fail(error)

    async def answer(self, call: Call, asked: Asked, receive: Receive) -> None:
        """Find the model -> start -> stream, or gather and reply. A caller that leaves ends it at once."""
        first = asked.requests[0]
        call.told = Told(first.priority, rows=len(asked.requests))
        generator = generator_of(self._generators, first.model)
        deadline_at = call.deadline_at(self._entrance.policy.generate_timeout_s)
        course = Course(self._metrics, call.started_at, len(asked.requests), asked.choices)
        form = self._form(call.request_id.decode(), generator.name, int(time.time()), asked)
        choices = [Choice() for _ in range(0 if asked.stream else asked.choices)]

        async def generate() -> list[Generation]:
            generations = await start_all(generator, asked.requests, deadline_at=deadline_at)
            try:
                if asked.stream:
                    await self._stream(call, generations, course, form, first.n)
                else:
                    await _gather(generations, course, choices, first.n)
            finally:
                await close_all(generations)
                _tell(call, course, generations)
            return generations

        # The reply's end is sent outside: after it `receive` says that the connection is over, though nobody left.
        generations = await unless_left(receive, generate())
        if asked.stream:
            await call.end(form.closing(course.usage))
        else:
            await call.reply(200, form.whole(choices, course.usage), JSON, *_timed(generations))

    async def _stream(
        self, call: Call, generations: Sequence[Generation], course: Course, form: Form, n: int
    ) -> None:
        """Send what comes when it comes. The head waits for the first piece: until then a failure has its status."""
        streaming = self._metrics.streaming
        streaming.value += 1
        try:
            async with aclosing(interleaved(generations)) as told:
                async for place, events in told:
                    course.came(place, events)
                    pieces = [form.piece(place * n + event.index, event) for event in events]
                    if not call.replied:
                        await call.begin(*HEADERS, TIER[generations[0].timings.cache])
                        pieces.insert(0, form.opening())
                    body = b"".join(pieces)
                    if body:
                        await call.more(body)
        finally:
            streaming.value -= 1


async def _gather(
    generations: Sequence[Generation], course: Course, choices: Sequence[Choice], n: int
) -> None:
    async with aclosing(interleaved(generations)) as told:
        async for place, events in told:
            course.came(place, events)
            for event in events:
                choices[place * n + event.index].add(event)


def _tell(call: Call, course: Course, generations: Sequence[Generation]) -> None:
    """What the access log says of a call that is over."""
    told = call.told
    assert told is not None
    told.tier = course.over(generations)
    told.prompt_tokens, told.completion_tokens = course.usage.prompt_tokens, course.usage.completion_tokens
    told.ttft_s = course.ttft_s


def _timed(generations: Sequence[Generation]) -> tuple[Header, Header]:
    """Of several generations the one that took longest speaks."""
    timings = max((generation.timings for generation in generations), key=lambda timings: timings.total_s)
    return TIER[timings.cache], (b"server-timing", timings.server_timing().encode())
