"""`POST /v1/score`: exact log-probabilities, nothing drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from starlette.types import Receive, Scope, Send

from paceline.base.errors import EngineError
from paceline.base.generate_api import ScoreBody
from paceline.base.generate_replies import Score, ScoreReply
from paceline.base.generation import GenerateRequest, Generator, Scored, ScoreRequest, TokenLogprob
from paceline.serve.call import JSON, Call, Told
from paceline.serve.decode import Decoder, read_body
from paceline.serve.departure import unless_left
from paceline.serve.entrance import Entrance
from paceline.serve.generate_decode import score_of
from paceline.serve.generate_encode import LEAST_LOGPROB
from paceline.serve.generate_route import generator_of
from paceline.serve.metrics import RouteMetrics

_decode = Decoder(ScoreBody).decode
_encode = msgspec.json.Encoder().encode


class ScoreRoute:
    """An ASGI application for the one path."""

    def __init__(self, route: RouteMetrics, generators: Mapping[str, Generator], entrance: Entrance) -> None:
        self._route = route
        self._generators = generators
        self._entrance = entrance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authorise -> rate limit -> read and decode -> score -> reply."""
        entrance = self._entrance
        call = Call.of(entrance, self._route, scope, send)
        try:
            await call.admit()
            deadline_at = call.deadline_at(entrance.policy.generate_timeout_s)
            body = await read_body(receive, call.headers, entrance.policy.max_body_bytes)
            asked = score_of(_decode(body, call.headers))
            call.told = Told(asked.priority)
            generator = generator_of(self._generators, asked.model)
            if isinstance(asked, ScoreRequest):
                scored = await unless_left(receive, generator.score(asked, deadline_at=deadline_at))
                scores = [_compared(index, one) for index, one in enumerate(scored)]
            else:
                tokens = await unless_left(receive, _prompt_logprobs(generator, asked, deadline_at))
                scores = [_alone(tokens)]
            call.told.rows = len(scores)
            await call.reply(200, _encode(ScoreReply(model=generator.name, data=scores)), JSON)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever happened, the caller gets a problem
            await call.fail(error)


async def _prompt_logprobs(
    generator: Generator, request: GenerateRequest, deadline_at: float
) -> Sequence[TokenLogprob]:
    """Of the prompt's tokens, which are known with the first event. Raises EngineError if they are not."""
    generation = await generator.start(request, deadline_at=deadline_at)
    try:
        async for _ in generation:
            break
        if generation.prompt_logprobs is None:
            raise EngineError(
                f"model {generator.name!r} cannot tell the log-probabilities of a prompt; send context and continuations"
            )
        return generation.prompt_logprobs
    finally:
        await generation.aclose()


def _compared(index: int, scored: Scored) -> Score:
    return Score(
        index=index,
        logprob=max(scored.logprob, LEAST_LOGPROB),
        tokens=list(scored.tokens),
        token_logprobs=[max(logprob, LEAST_LOGPROB) for logprob in scored.token_logprobs],
        greedy=scored.greedy,
    )


def _alone(tokens: Sequence[TokenLogprob]) -> Score:
    known = [token for token in tokens if token.logprob is not None]
    logprobs = [None if token.logprob is None else max(token.logprob, LEAST_LOGPROB) for token in tokens]
    return Score(
        index=0,
        logprob=sum(logprob for logprob in logprobs if logprob is not None),
        tokens=[token.token for token in tokens],
        token_logprobs=[*logprobs],
        greedy=all(token.token == token.top[0][0] for token in known if token.top),
    )
