"""The body of every different request of a run, made before it."""

from __future__ import annotations

from math import ceil
from typing import Any

import msgspec

from paceline.base.errors import ConfigError
from paceline.measure.load.arrival import expected
from paceline.measure.load.body_file import STREAMED, given_bodies
from paceline.measure.load.trace import Shape, Trace
from paceline.measure.load.vector_query import moved
from paceline.measure.load.words import Prompter
from paceline.measure.plan import ClosedLoop, OpenLoop, Payload, Plan

UNKNOWN = 10_000
MOST = 100_000
MOST_BYTES = 64 << 20
_WORD_BYTES = 8
_CHANCE = 1.05
"""Poisson arrivals may be more than the rate says."""


def bodies(plan: Plan, trace: Trace | None) -> list[bytes | None]:
    """Bodies by the index that the schedule's `request` holds; None is a request without one.

    The user's own are taken in turn. Without any, an AI task has `payload.distinct` (or one for each request) made of words and the seed, or
    with a trace those of its lengths (a word of ours is about a token). Raises ConfigError.
    """
    payload = plan.payload
    if payload.stream and payload.task in {"embeddings", "vectors"}:
        raise ConfigError(
            f"{payload.task} are not streamed; leave stream out or take task completions or chat",
            param="payload.stream",
        )
    given = [prefixed(body, payload) for body in given_bodies(payload)]
    if trace is not None:
        shapes = trace.shapes
    elif given:
        return [*given]
    elif payload.task == "http":
        return [None]
    elif payload.task == "vectors":
        raise _no_queries()
    else:
        count = payload.distinct or one_each(plan)
        shapes = tuple(Shape(payload.prompt_words, payload.max_tokens, turn=turn) for turn in range(count))
    prompter = Prompter(plan.seed, max(shape.turn * shape.rows + shape.rows for shape in shapes))
    return [_body(payload, shape, given, prompter) for shape in shapes]


def one_each(plan: Plan) -> int:
    """As many bodies as the load has requests, so that no answer comes from a cache; fewer when they would fill memory.

    How many a closed loop without a number will send is not known before.
    """
    load = plan.load
    if isinstance(load, OpenLoop):
        wanted = ceil(expected(load.stages) * _CHANCE) + 1
    elif isinstance(load, ClosedLoop):
        wanted = load.requests or UNKNOWN
    else:
        wanted = UNKNOWN
    return max(1, min(wanted, MOST, MOST_BYTES // (plan.payload.prompt_words * _WORD_BYTES)))


def _body(payload: Payload, shape: Shape, given: list[bytes], prompter: Prompter) -> bytes | None:
    if shape.body is not None:
        return prefixed(shape.body, payload)
    if shape.bodyless:
        return None
    if given:
        return given[shape.turn]
    if payload.task == "http":
        return None
    if payload.task == "vectors":
        raise _no_queries()
    fields: dict[str, Any] = {} if payload.model is None else {"model": payload.model}
    if payload.task == "embeddings":
        fields["input"] = _texts(shape, prompter)
        return prefixed(msgspec.json.encode(fields), payload)
    prompt = prompter.prompt(shape.turn, shape.words)
    if payload.task == "chat":
        fields["messages"] = [{"role": "user", "content": prompt}]
    else:
        fields["prompt"] = prompt
    fields["max_tokens"] = shape.max_tokens
    return prefixed(msgspec.json.encode(fields | STREAMED if payload.stream else fields), payload)


def prefixed(body: bytes, payload: Payload) -> bytes:
    """The body with `payload.prefix` before every text it asks about; unchanged without one, and for plain HTTP.

    Vectors are moved a little instead.
    """
    if not payload.prefix or payload.task == "http":
        return body
    fields = msgspec.json.decode(body)
    if payload.task == "vectors":
        return msgspec.json.encode(moved(fields, payload.prefix))

    def before(text: Any) -> Any:
        return f"{payload.prefix} {text}" if isinstance(text, str) else text

    for name in ("input", "prompt"):
        asked = fields.get(name)
        if asked is not None:
            fields[name] = [before(text) for text in asked] if isinstance(asked, list) else before(asked)
    messages = fields.get("messages")
    if messages:
        messages[0] = messages[0] | {"content": before(messages[0].get("content"))}
    return msgspec.json.encode(fields)


def _no_queries() -> ConfigError:
    return ConfigError(
        "vectors to ask for cannot be made up; give --body-file queries.npy (rows of float32), or JSONL with a query a line",
        param="payload.body_file",
    )


def _texts(shape: Shape, prompter: Prompter) -> str | list[str]:
    """One text, or as many as the recorded request had, its words shared out evenly."""
    if shape.rows == 1:
        return prompter.prompt(shape.turn, shape.words)
    each, longer = divmod(shape.words, shape.rows)
    first = shape.turn * shape.rows
    return [prompter.prompt(first + row, max(1, each + (row < longer))) for row in range(shape.rows)]
