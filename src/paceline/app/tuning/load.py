"""The load of a tune: the user's own trace or bodies, or one made up with lengths and repetitions like real ones."""

from __future__ import annotations

import re
from math import ceil, exp, log
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from paceline.base.errors import ConfigError
from paceline.measure.load.arrival import expected
from paceline.measure.load.words import Prompter
from paceline.measure.plan import OpenLoop, Payload, Plan

LENGTHS: Final = "4..64"
"""Words of a made-up text: from a search query to a paragraph, as many short ones as long ones."""
MOST_WORDS: Final = 10_000
SPARE: Final = 1.2
"""Poisson arrivals may be more than the rate says."""
_RANGE: Final = re.compile(r"(\d+)(?:\.\.(\d+))?")


def lengths(text: str) -> tuple[int, int]:
    """`16` or `4..64` as shortest and longest. Raises ConfigError."""
    match = _RANGE.fullmatch(text.strip())
    low = int(match[1]) if match else 0
    high = int(match[2] or match[1]) if match else 0
    if not 1 <= low <= high <= MOST_WORDS:
        raise ConfigError(
            f"--prompt-words {text}: expected a number or a range of 1 to {MOST_WORDS:,}, such as 16 or 4..64",
            param="prompt_words",
        )
    return low, high


def with_texts(plan: Plan, folder: Path, words: tuple[int, int], distinct: int | None) -> Plan:
    """The plan with a body for each request in a file of `folder`, unless it has bodies or a trace already.

    Lengths are uniform in their logarithm. With `distinct` texts, the k-th most popular is asked for in proportion
    to 1/k (Zipf), as real questions are. Raises ConfigError.
    """
    load, payload = plan.load, plan.payload
    if (
        payload.task in {"http", "vectors"}
        or not isinstance(load, OpenLoop)
        or payload.body
        or payload.body_file
    ):
        return plan
    if distinct is not None and distinct < 1:
        raise ConfigError(f"--distinct {distinct}: expected 1 or more texts", param="distinct")
    count = ceil(expected(load.stages) * SPARE) + 20
    draw = Random(f"{plan.seed}/tune")  # noqa: S311 - repeatable, no secret
    chosen = list(range(count)) if distinct is None else _popular(draw, distinct, count)
    prompter = Prompter(plan.seed, max(chosen) + 1)
    sizes = [_size(draw, *words) for _ in range(max(chosen) + 1)]
    file = folder / "bodies.jsonl"
    with file.open("wb") as out:
        for which in chosen:
            body = _body(payload, prompter.prompt(which, sizes[which]))
            out.write(msgspec.json.encode(body) + b"\n")
    return replace(plan, payload=replace(payload, body_file=str(file), distinct=None))


def _popular(draw: Random, distinct: int, count: int) -> list[int]:
    weights = [1.0 / rank for rank in range(1, distinct + 1)]
    return draw.choices(range(distinct), weights, k=count)


def _size(draw: Random, low: int, high: int) -> int:
    return min(high, int(exp(draw.uniform(log(low), log(high + 1)))))


def _body(payload: Payload, text: str) -> dict[str, Any]:
    if payload.task == "embeddings":
        return {"input": text}
    asked: dict[str, Any] = (
        {"messages": [{"role": "user", "content": text}]} if payload.task == "chat" else {"prompt": text}
    )
    return asked | {"max_tokens": payload.max_tokens}
