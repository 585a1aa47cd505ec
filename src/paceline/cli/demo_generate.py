"""The demo's part on text: the small language model is asked what it was taught, alone and with company."""

from __future__ import annotations

import asyncio
import secrets
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from paceline.cli.demo_server import running_server
from paceline.cli.options import Options

if TYPE_CHECKING:
    from rich.console import Console

    from paceline.client import AsyncClient

NEEDED = ("numba", "llguidance", "jinja2")
QUESTIONS = (
    "What is 12 + 30?",
    "Sort these numbers: 31 7 12",
    "What is the capital of France?",
    "What is the opposite of hot?",
)
COMPANY = 16
"""Callers at the same time, each with a question of its own."""
TOKENS = 64


def show_generation(console: Console, options: Options) -> None:
    """Ask and show; says what is missing where the packages are not installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        console.print(
            f"Text generation is left out: {', '.join(missing)} not installed (pip install 'paceline[generate]')."
        )
        return
    settings = ("embed.model=", "generate.model=demo", "generate.kv.max_bytes=134217728")
    with running_server(options, secrets.token_urlsafe(), *settings) as (url, _):
        asyncio.run(_show(console, url))


async def _show(console: Console, url: str) -> None:
    from paceline.client import AsyncClient  # noqa: PLC0415 - httpx is slow to import

    async with AsyncClient(url) as client:
        (model,) = await client.models()
        console.print(
            f"[bold]{model.id}[/bold] on {url}: context of {model.max_tokens} tokens, {model.precision} on {model.engine}",
            soft_wrap=True,
        )
        for question in QUESTIONS:
            await _ask(console, client, question)
        await _together(console, client)
    console.print()


async def _ask(console: Console, client: AsyncClient, question: str) -> None:
    """One question, streamed."""
    asked_at = time.perf_counter()
    first_s, pieces, tokens = 0.0, [], 0
    async for piece in client.chat_stream(question, temperature=0, max_tokens=TOKENS):
        first_s = first_s or time.perf_counter() - asked_at
        pieces.append(piece.text)
        tokens = piece.usage.completion_tokens if piece.usage is not None else tokens
    answer = "".join(pieces).strip().replace("\n", " ")
    console.print(
        f"  {question} [bold]{answer}[/bold]  [dim]first token {first_s * 1e3:.0f} ms[/dim]", soft_wrap=True
    )


async def _together(console: Console, client: AsyncClient) -> None:
    """Many at once: every step computes a token for each."""

    async def one(number: int) -> tuple[int, float]:
        asked_at = time.perf_counter()
        told = await client.chat(
            f"What is {number} + {number + 3}?",
            temperature=0.7,
            seed=number,
            max_tokens=TOKENS,
            ignore_eos=True,
        )
        return told.usage.completion_tokens, time.perf_counter() - asked_at

    started_at = time.perf_counter()
    answers = await asyncio.gather(*(one(number) for number in range(COMPANY)))
    seconds = time.perf_counter() - started_at
    tokens = sum(count for count, _ in answers)
    latency_ms = np.median([taken for _, taken in answers]) * 1e3
    console.print(
        f"{COMPANY} callers at once: [bold]{tokens / seconds:,.0f} tokens/s[/bold], "
        f"{TOKENS} tokens in {latency_ms:.0f} ms each (median)"
    )
